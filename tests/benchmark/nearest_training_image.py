#!/usr/bin/env python3
"""Does a prior repeat its training images?

  nearest_training_image.py SAMPLES... --training TRAINING... --validation VALIDATION...

SAMPLES, TRAINING and VALIDATION are files or folders of files. For each sample of `postrec sample` and, to compare with, each validation slice:

  whole images: the largest correlation with any training slice, mirror images included, of 48x48 block means about the centre of intensity;
  patches: the largest correlation of its most varied 32x32 patches, in full resolution, with any place of any training slice, not mirrored.

A prior that copies has samples nearer to the training images than validation slices are. Needs numpy, nibabel and pillow.
"""
import argparse
import pathlib

import nibabel
import numpy as np
from PIL import Image

SIZE = 48
PATCH = 32


def slices_of(path):
    if path.suffix.lower() in (".jpg", ".jpeg", ".png"):  # halved, as in training
        picture = Image.open(path).convert("L")
        yield np.asarray(picture.reduce(2), np.float32)
        return
    stored = np.asanyarray(nibabel.load(path).dataobj)
    volume = np.asarray(stored, np.float32)
    if volume.ndim == 5:  # NIfTI's place for colours
        volume = volume @ np.array([0.299, 0.587, 0.114], np.float32)
    volume = volume.squeeze()
    volume = volume[..., None] if volume.ndim == 2 else volume
    volume = volume - min(0.0, volume.min())  # HU begin at -1024
    fullness = volume.mean((0, 1))
    for i in range(volume.shape[2]):
        if fullness[i] > 0.1 * fullness.max():
            yield volume[..., i].T


def thumbnail(image):
    """48x48 block means of the square about the centre of intensity, less their mean, of length 1."""
    side = (max(image.shape) + SIZE - 1) // SIZE * SIZE
    rows, columns = np.indices(image.shape)
    weight = max(image.sum(), 1e-9)
    top, left = (int(round(float((axis * image).sum() / weight))) - side // 2 for axis in (rows, columns))
    square = np.zeros((side, side), np.float32)
    r0, c0 = max(top, 0), max(left, 0)
    part = image[r0 : top + side, c0 : left + side]
    square[r0 - top : r0 - top + part.shape[0], c0 - left : c0 - left + part.shape[1]] = part
    small = square.reshape(SIZE, side // SIZE, SIZE, side // SIZE).mean((1, 3))
    small = small - small.mean()
    return small / max(np.linalg.norm(small), 1e-9)


def images_of(folders, every=1):
    paths = [path for folder in folders for path in (sorted(pathlib.Path(folder).iterdir()) if pathlib.Path(folder).is_dir() else [pathlib.Path(folder)])]
    images = [image for path in paths if path.suffix.lower() in (".gz", ".nii", ".jpg", ".jpeg", ".png") for image in slices_of(path)]
    return images[::every]


def thumbnails(images):
    return np.stack([thumbnail(image) for image in images])


def nearest(images, training):
    mirrored = [images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]]
    flat = training.reshape(len(training), -1)
    return np.max([(view.reshape(len(view), -1) @ flat.T).max(1) for view in mirrored], 0)


def patches_of(image, count):
    """The most varied of the PATCH x PATCH tiles of an image, less their mean, of length 1."""
    tiles = [image[r : r + PATCH, c : c + PATCH] for r in range(0, image.shape[0] - PATCH + 1, PATCH) for c in range(0, image.shape[1] - PATCH + 1, PATCH)]
    tiles = sorted(tiles, key=lambda tile: -tile.std())[:count]
    return [(tile - tile.mean()) / max(np.linalg.norm(tile - tile.mean()), 1e-9) for tile in tiles]


def nearest_places(patches, training):
    """The largest correlation of each patch with any place of any training slice, by FFT."""
    best = np.full(len(patches), -1.0)
    transforms = {}
    for image in training:
        if min(image.shape) < PATCH:
            continue
        if image.shape not in transforms:
            ones = np.ones((PATCH, PATCH), np.float32)
            transforms = {image.shape: np.conj(np.fft.rfft2(np.stack([*patches, ones]), image.shape)).astype(np.complex64)}
        kernels = transforms[image.shape]
        level = image / max(np.abs(image).max(), 1e-9)
        sums = np.fft.irfft2(np.fft.rfft2(level) * kernels, image.shape)
        squares = np.fft.irfft2(np.fft.rfft2(level**2) * kernels[-1], image.shape)
        inside = (slice(None, image.shape[0] - PATCH + 1), slice(None, image.shape[1] - PATCH + 1))
        spread = np.sqrt(np.maximum(squares - sums[-1] ** 2 / PATCH**2, 1e-4))[inside]
        best = np.maximum(best, [(product[inside] / spread).max() for product in sums[:-1]])
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="+")
    parser.add_argument("--training", nargs="+", required=True)
    parser.add_argument("--validation", nargs="+", required=True)
    parser.add_argument("--patches", type=int, default=4, help="of a sample (validation slices give as many in all); 0: none")
    parser.add_argument("--every", type=int, default=1, help="only each so-manieth training slice, for the patches")
    options = parser.parse_args()
    training = images_of(options.training)
    small = thumbnails(training)
    groups = {"samples": images_of(options.samples), "validation slices": images_of(options.validation)}
    for name, images in groups.items():
        values = nearest(thumbnails(images), small)
        print(f"{name}: {len(values)}; correlation with the nearest of {len(small)} training slices: mean {values.mean():.3f}, largest {values.max():.3f}", flush=True)
    if options.patches == 0:
        return
    training = training[:: options.every]
    for name, images in groups.items():
        some = images[:: max(1, len(images) // len(groups["samples"]))][: len(groups["samples"])]
        patches = [patch for image in some for patch in patches_of(image, options.patches)]
        values = nearest_places(patches, training)
        print(f"{name}: {len(values)} patches; correlation with the nearest place of {len(training)} training slices: mean {values.mean():.3f}, largest {values.max():.3f}", flush=True)


if __name__ == "__main__":
    main()
