"""The stacks and geometries of this folder, made by RTK itself: pip install itk-rtk (2.7.0 was used), then python3 make.py FOLDER.

A cylinder along y of radius 12 mm around (x, z) = (25, 10) mm, attenuation 0.02/mm."""
import sys

import itk
from itk import RTK as rtk

IMAGE = itk.Image[itk.F, 3]
ANGLES = [0.0, 40.0, 75.0, 130.0, 200.0, 290.0, 350.0]


def make(name, sdd, offset_x=0.0, columns=61, rows=5, column_mm=4.0, row_mm=3.0, radius=0.0):
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    for angle in ANGLES:
        geometry.AddProjection(1000.0 if sdd == 0 else 500.0, sdd, angle, offset_x, 0.0)
    if radius:
        geometry.SetRadiusCylindricalDetector(radius)
    empty = rtk.ConstantImageSource[IMAGE].New()
    empty.SetOrigin([-(columns - 1) / 2 * column_mm, -(rows - 1) / 2 * row_mm, 0.0])
    empty.SetSpacing([column_mm, row_mm, 1.0])
    empty.SetSize([columns, rows, len(ANGLES)])
    empty.SetConstant(0.0)
    cylinder = rtk.RayEllipsoidIntersectionImageFilter[IMAGE, IMAGE].New()
    cylinder.SetInput(empty.GetOutput())
    cylinder.SetGeometry(geometry)
    cylinder.SetDensity(0.02)
    cylinder.SetAxis([12.0, 1000.0, 12.0])
    cylinder.SetCenter([25.0, 0.0, 10.0])
    cylinder.Update()
    itk.imwrite(cylinder.GetOutput(), f"{sys.argv[1]}/{name}.mha")
    writer = rtk.ThreeDCircularProjectionGeometryXMLFileWriter.New()
    writer.SetFilename(f"{sys.argv[1]}/{name}.xml")
    writer.SetObject(geometry)
    writer.WriteFile()


make("parallel", 0.0, offset_x=3.0)
make("fan", 800.0, offset_x=-7.0, rows=1, columns=81)
make("cone", 800.0, rows=4, columns=81)
make("curved", 800.0, offset_x=5.0, rows=1, columns=81, radius=800.0)
