#!/usr/bin/env python3
"""Does a prior repeat its training images?

  nearest_training_image.py SAMPLES.nii.gz TRAINING_FOLDER... --validation VALIDATION_FOLDER...

For each sample of `postrec sample` (and, to compare with, each validation slice) the largest correlation with any training slice, its mirror images
included. Images are compared as 48x48 block means about their centre of intensity. A prior that copies has samples far nearer to the training images than
validation slices are. Needs numpy, nibabel and pillow.
"""
import argparse
import pathlib

import nibabel
import numpy as np
from PIL import Image

SIZE = 48


def slices_of(path):
    if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
        yield np.asarray(Image.open(path).convert("L"), np.float32)
        return
    volume = np.asarray(nibabel.load(path).dataobj, np.float32).squeeze()
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


def thumbnails(folders):
    paths = [path for folder in folders for path in (sorted(pathlib.Path(folder).iterdir()) if pathlib.Path(folder).is_dir() else [pathlib.Path(folder)])]
    return np.stack([thumbnail(image) for path in paths if path.suffix.lower() in (".gz", ".nii", ".jpg", ".jpeg", ".png") for image in slices_of(path)])


def nearest(images, training):
    mirrored = [images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]]
    flat = training.reshape(len(training), -1)
    return np.max([(view.reshape(len(view), -1) @ flat.T).max(1) for view in mirrored], 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples")
    parser.add_argument("training", nargs="+")
    parser.add_argument("--validation", nargs="+", required=True)
    options = parser.parse_args()
    training = thumbnails(options.training)
    for name, images in (("samples", thumbnails([options.samples])), ("validation slices", thumbnails(options.validation))):
        values = nearest(images, training)
        print(f"{name}: {len(values)}; correlation with the nearest of {len(training)} training slices: mean {values.mean():.3f}, largest {values.max():.3f}")


if __name__ == "__main__":
    main()
