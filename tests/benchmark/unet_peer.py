#!/usr/bin/env python3
"""The network of a prior file in PyTorch, as a peer for speed: eager mode and ONNX Runtime.

  unet_peer.py PRIOR.safetensors build/bin/postrec_network --size 192x224 --batch 1 --threads 2

Only the U-Net is timed (the Gaussian skip connection costs a hundredth). The same seedless input goes to both; their answers are compared.
"""
import argparse
import json
import math
import statistics
import struct
import subprocess
import time

import numpy as np
import torch
import torch.nn.functional as F


def read_prior(path):
    """Tensors by name, and the metadata."""
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        data = file.read()
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = torch.from_numpy(np.frombuffer(data[begin:end], np.float32).reshape(entry["shape"]).copy())
    return tensors, metadata


class UNet(torch.nn.Module):
    """core/src/priors/unet.cpp, line by line."""

    def __init__(self, weights, blocks, unshuffle=1, group_norm=False, attention=False):
        super().__init__()
        self.blocks, self.unshuffle, self.group_norm, self.attention = blocks, unshuffle, group_norm, attention
        self.names = {}
        for name, value in weights.items():
            value = value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
            self.names[name] = name.replace(".", "_")
            self.register_buffer(self.names[name], value)

    def w(self, name):
        return getattr(self, self.names[name])

    def conv(self, name, x, stride=1):
        kernel = self.w(name + ".weight")
        return F.conv2d(x, kernel, self.w(name + ".bias"), stride, 1 if kernel.shape[2] == 3 else 0)

    def norm(self, name, x):
        return F.group_norm(x, x.shape[1] // 16, self.w(name + ".weight"), self.w(name + ".bias")) if self.group_norm else x

    def linear(self, name, x):
        return F.linear(x, self.w(name + ".weight"), self.w(name + ".bias"))

    def block(self, name, x, embedding):
        h = self.conv(name + ".conv1", F.silu(self.norm(name + ".norm1", x)))
        scale, shift = self.linear(name + ".film", embedding)[:, :, None, None].chunk(2, 1)
        h = shift + self.norm(name + ".norm2", h) * (scale + 1.0)
        return x + self.conv(name + ".conv2", F.silu(h))

    def embed(self, c_noise):
        frequencies = torch.logspace(math.log10(0.25), math.log10(8.0), 16) * (2.0 * math.pi)
        angles = c_noise[:, None] * frequencies
        waves = torch.cat([torch.cos(angles), torch.sin(angles)], 1)
        return F.silu(self.linear("embedding2", F.silu(self.linear("embedding1", waves))))

    def forward(self, x, c_noise):
        levels = len(self.blocks)
        cell = self.unshuffle << (levels - 1)
        height, width = x.shape[2], x.shape[3]
        below, right = -height % cell, -width % cell
        h = F.pad(x, (0, right, 0, below), mode="reflect") if below + right else x
        h = F.pixel_unshuffle(h, self.unshuffle) if self.unshuffle > 1 else h
        embedding = self.embed(c_noise)
        h = self.conv("input", h)
        skips = []
        for level in range(levels):
            for i in range(self.blocks[level]):
                h = self.block(f"down{level}.block{i}", h, embedding)
            if level + 1 < levels:
                skips.append(h)
                h = self.conv(f"shrink{level}", h, 2)
        if self.attention:
            q, k, v = self.conv("attention.qkv", h).flatten(2).transpose(1, 2).chunk(3, 2)
            h = h + self.conv("attention.out", F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(h.shape))
        for level in range(levels - 2, -1, -1):
            h = F.interpolate(self.conv(f"grow{level}", h), size=skips[level].shape[2:], mode="nearest")
            h = self.conv(f"join{level}", torch.cat([h, skips[level]], 1))
            for i in range(self.blocks[level]):
                h = self.block(f"up{level}.block{i}", h, embedding)
        h = self.conv("output", F.silu(self.norm("norm", h)))
        h = F.pixel_shuffle(h, self.unshuffle) if self.unshuffle > 1 else h
        return h[:, :, :height, :width]


def network_of(path):
    tensors, metadata = read_prior(path)
    architecture = json.loads(metadata["architecture"])
    weights = {name.removeprefix("network/"): value for name, value in tensors.items() if name.startswith("network/")}
    keys = ("blocks", "unshuffle", "group_norm", "attention")
    return UNet(weights, **{key: architecture[key] for key in keys}).eval(), architecture


def onnx_session(network, inputs, threads, path):
    import onnxruntime

    torch.onnx.export(network, inputs, path, input_names=["x", "c_noise"], output_names=["y"], dynamo=False, opset_version=18)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prior")
    parser.add_argument("benchmark", help="postrec_network, the program built with POSTREC_BUILD_BENCHMARKS")
    parser.add_argument("--size", default="192x224", help="rows x columns")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", default="/tmp", help="where the exchanged tensors and the ONNX file go")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    network, architecture = network_of(options.prior)
    height, width = map(int, options.size.split("x"))
    shape = (options.batch, architecture["in_channels"], height, width)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    c_noise = np.full(options.batch, math.log(0.1) / 4, np.float32)
    x.tofile(f"{options.folder}/x.f32")
    with torch.inference_mode():
        x_torch, c_torch = torch.from_numpy(x).contiguous(memory_format=torch.channels_last), torch.from_numpy(c_noise)
        session = onnx_session(network, (torch.from_numpy(x), c_torch), options.threads, f"{options.folder}/unet.onnx")
        answers = {"eager": network(x_torch, c_torch).numpy(), "onnxruntime": session.run(None, {"x": x, "c_noise": c_noise})[0]}
        times = {"postrec": [], "eager": [], "onnxruntime": []}
        for _ in range(options.rounds):
            command = [options.benchmark, options.prior, *map(str, shape), str(options.threads), f"{options.folder}/x.f32", f"{options.folder}/y.f32"]
            times["postrec"].append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            times["eager"].append(min(seconds(lambda: network(x_torch, c_torch)) for _ in range(5)))
            times["onnxruntime"].append(min(seconds(lambda: session.run(None, {"x": x, "c_noise": c_noise})) for _ in range(5)))
        ours = np.fromfile(f"{options.folder}/y.f32", np.float32).reshape(answers["eager"].shape)
    for peer, answer in answers.items():
        difference = np.abs(answer - ours).max() / np.abs(ours).max()
        assert difference < 1e-4, f"{peer} computes something else: largest difference {difference:.1e} of the largest value"
    print(f"{options.size}, batch {options.batch}, {options.threads} threads; ms an image, median of {options.rounds} interleaved rounds (the best of 5 each)")
    for name, values in times.items():
        print(f"{name:12s} {1e3 * statistics.median(values) / options.batch:7.1f}")


if __name__ == "__main__":
    main()
