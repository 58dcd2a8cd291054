"""Reads the DICOM objects of a result with pydicom and highdicom and compares them with its NIfTI files and its source.

usage: read_derived_dicom.py RESULT SOURCE
"""
import pathlib
import sys

import highdicom
import nibabel
import numpy
import pydicom

TOLERANCE_MM = 1e-4


def nifti(path):
    """Values [slice, row, column] and the affine from (slice, row, column) to LPS mm."""
    image = nibabel.load(path)
    to_lps = numpy.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    return numpy.asarray(image.dataobj).transpose(2, 1, 0), to_lps[:, [2, 1, 0, 3]]


def series(folder):
    """The volume of a folder of single-frame images, by way of its real-world values, and the width of a stored step."""
    files = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    volume = highdicom.get_volume_from_series(files, apply_real_world_transform=True, dtype=numpy.float64)
    step = float(files[0].RealWorldValueMappingSequence[0].RealWorldValueSlope)
    if files[0].Modality == "CT":
        assert numpy.allclose(step, float(files[0].RescaleSlope))
    return volume, step


def compare(name, volume, expected, tolerance):
    values, affine = expected
    corners = numpy.array([[s, r, c, 1] for s in (0, values.shape[0] - 1) for r in (0, values.shape[1] - 1) for c in (0, values.shape[2] - 1)]).T
    # A volume may be indexed from the other end.
    matched = volume.match_geometry(highdicom.Volume(array=values, affine=affine, coordinate_system="PATIENT"))
    off_mm = numpy.abs((matched.affine - affine) @ corners).max()
    off = numpy.abs(matched.array - values).max()
    print(f"{name}: {off_mm:.2g} mm, {off:.3g} of {numpy.abs(values).max():.4g}")
    assert matched.array.shape == values.shape
    assert off_mm <= TOLERANCE_MM, off_mm
    assert off <= tolerance, (off, tolerance)


def main(result, source):
    mean, step = series(result / "dicom" / "mean")
    compare("mean", mean, nifti(result / "mean.nii.gz"), 0.501 * step)
    deviation = nifti(result / "standard_deviation.nii.gz")
    map_file = result / "dicom" / "standard_deviation.dcm"
    if map_file.exists():
        image = highdicom.imread(map_file)
        compare("map", image.get_volume(apply_real_world_transform=False, dtype=numpy.float64), deviation, 0)
        compare("map by its mapping", image.get_volume(apply_real_world_transform=True, dtype=numpy.float64), deviation, 0)
        first = image
    else:
        scaled, step = series(result / "dicom" / "standard_deviation")
        compare("scaled map", scaled, deviation, 0.501 * step)
        first = pydicom.dcmread(result / "dicom" / "standard_deviation" / "0001.dcm")
    was = pydicom.dcmread(sorted(source.iterdir())[0])
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "FrameOfReferenceUID", "AccessionNumber", "SpecificCharacterSet"):
        assert first[keyword].value == was[keyword].value, keyword
    print("same")


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
