"""Denoises the images of postrec_denoising by BM3D and by total variation, and prints Markdown tables against the priors.

    denoising_peers.py FOLDER...

FOLDER is what postrec_denoising wrote, given the prior to judge and then its Gaussian. BM3D and TV are slow and never change, so their results are kept
in FOLDER/peers.json by what they depend on. Both are given every favour: the true sigma, values that are not clipped, and for each sigma the best of
several settings, chosen on the truth of three images (an oracle). BM3D: the best profile; colour images by its own colour form. TV: the best weight
of a grid. Complex images are denoised as two real ones, which is all that either can do.
"""

import hashlib
import importlib.metadata
import json
import os
import sys

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import bm3d
import numpy as np
from skimage.restoration import denoise_tv_chambolle

BM3D_PROFILES = {"np": bm3d.BM3DProfile, "vn_old": bm3d.BM3DProfileVNOld}  # vn and high were below the better of these wherever tried
VERY_NOISY_SIGMA = 0.5  # below it vn_old was behind np by 0.3 dB and more (a CT and an MR slice)
TV_WEIGHTS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0)  # in units of sigma
TV_ITERATIONS = 300
N_FOR_SETTING = 3  # images that choose the setting
MARGIN_DB, MARGIN_FROM_SIGMA = 0.5, 0.1  # what a shipped prior must be above BM3D, and from which sigma on


def bm3d_denoised(noisy, sigma, colour, profile_name):
    profile = BM3D_PROFILES[profile_name]()
    profile.num_threads = 1
    if colour:
        return bm3d.bm3d_rgb(noisy.transpose(1, 2, 0), sigma, profile).transpose(2, 0, 1)
    return np.stack([bm3d.bm3d(channel, sigma, profile) for channel in noisy])


def tv_denoised(noisy, sigma, colour, weight):
    def denoised(image, **options):
        return denoise_tv_chambolle(image, weight=weight * sigma, eps=1e-6, max_num_iter=TV_ITERATIONS, **options)

    return denoised(noisy, channel_axis=0) if colour else np.stack([denoised(channel) for channel in noisy])


METHODS = {
    "BM3D": (bm3d_denoised, lambda sigma: list(BM3D_PROFILES) if sigma >= VERY_NOISY_SIGMA else ["np"], "bm3d " + importlib.metadata.version("bm3d")),
    "TV": (tv_denoised, lambda sigma: TV_WEIGHTS, f"scikit-image {importlib.metadata.version('scikit-image')} {TV_ITERATIONS} iterations"),
}


def psnr_db(estimate, clean):
    return float(-10 * np.log10(np.mean((estimate - clean) ** 2)))


class Cache:
    """PSNR of a method by its name, version and setting and the bytes of both images; on disk after every addition."""

    def __init__(self, path):
        self.path = path
        self.known = {}
        if os.path.exists(path):
            with open(path) as file:
                self.known = json.load(file)

    def get(self, key, compute):
        if key not in self.known:
            self.known[key] = compute()
            with open(self.path + ".part", "w") as file:
                json.dump(self.known, file, indent=0)
            os.replace(self.path + ".part", self.path)
        return self.known[key]


def digest(*arrays):
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:24]


def peer_psnr(folder, run, method):
    """The best setting and its PSNR per image, for each sigma: [(setting, [psnr])]. The setting is the best on a few of the images."""
    denoise, settings_for, version = METHODS[method]
    cache = Cache(os.path.join(folder, "peers.json"))
    few = run["images"][:: max(1, len(run["images"]) // N_FOR_SETTING)][:N_FOR_SETTING]

    def psnr_of(image, level, setting):
        clean = np.load(os.path.join(folder, image["clean"])).astype(np.float64)
        noisy = np.load(os.path.join(folder, image["noisy"][level])).astype(np.float64)
        sigma = run["sigmas"][level]
        key = f"{version} {setting} {sigma} {digest(clean, noisy)}"
        return cache.get(key, lambda: psnr_db(denoise(noisy, sigma, len(clean) == 3, setting), clean))

    best = []
    for level, sigma in enumerate(run["sigmas"]):
        settings = settings_for(sigma)
        setting = settings[0] if len(settings) == 1 else max(settings, key=lambda s: np.mean([psnr_of(image, level, s) for image in few]))
        best.append((setting, [psnr_of(image, level, setting) for image in run["images"]]))
        print(f"{run['kind']}: {method} at sigma {sigma}: {setting}, {np.mean(best[-1][1]):.2f} dB", file=sys.stderr, flush=True)
    return best


def verdict(claim, margins, sigmas):
    worst = int(np.argmin(margins))
    return f"smallest margin {margins[worst]:+.2f} dB at sigma {sigmas[worst]:g}: {claim} {'HOLDS' if np.all(margins >= 0) else 'FAILS'}"


def print_table(folder):
    with open(os.path.join(folder, "denoising.json")) as file:
        run = json.load(file)
    sigmas = np.array(run["sigmas"])
    peers = {method: peer_psnr(folder, run, method) for method in METHODS}
    mean = {method: np.array([np.mean(psnr) for _, psnr in best]) for method, best in peers.items()}
    priors = [(prior["file"], np.mean(prior["psnr_db"], axis=0)) for prior in run["priors"]]
    names = [["prior", "Gaussian"][i] if i < 2 else name for i, (name, _) in enumerate(priors)]
    judged = priors[0][1]

    print(f"\n### {run['kind']}: mean PSNR in dB over {len(run['images'])} validation images, prior {priors[0][0]}\n")
    head = ["sigma", *names, "BM3D (profile)", "TV (weight/sigma)", "prior - BM3D", *(["prior - Gaussian"] if len(priors) > 1 else [])]
    print("| " + " | ".join(head) + " |\n|" + "---:|" * len(head))
    for i, sigma in enumerate(sigmas):
        row = [f"{sigma:g}", *(f"{psnr[i]:.2f}" for _, psnr in priors)]
        row += [f"{mean[method][i]:.2f} ({peers[method][i][0]})" for method in METHODS]
        row += [f"{judged[i] - mean['BM3D'][i]:+.2f}", *([f"{judged[i] - priors[1][1][i]:+.2f}"] if len(priors) > 1 else [])]
        print("| " + " | ".join(row) + " |")
    high = sigmas >= MARGIN_FROM_SIGMA
    above = (judged - mean["BM3D"] - MARGIN_DB)[high]
    print(f"\n{names[0]} against BM3D + {MARGIN_DB} dB, " + verdict(f"for sigma >= {MARGIN_FROM_SIGMA} above it", above, sigmas[high]))
    if len(priors) > 1:
        print(f"\n{names[0]} against {names[1]}, " + verdict("never below it", judged - priors[1][1], sigmas))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for folder in sys.argv[1:]:
        print_table(folder)


if __name__ == "__main__":
    main()
