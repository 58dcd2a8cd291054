"""Times ASTRA's CPU projectors on the setting of ct_radon_benchmark.cpp and prints one JSON line: process CPU and wall seconds by name."""

import json
import sys
import time

import astra
import numpy as np

SIDE, VIEWS, DETECTORS = 512, 180, 729


def algorithm(kind, projector, volume, sinogram):
    config = astra.astra_dict(kind)
    config["ProjectorId"] = projector
    config["ProjectionDataId"] = sinogram
    config["VolumeDataId" if kind == "FP" else "ReconstructionDataId"] = volume
    return astra.algorithm.create(config)


def seconds_of(run):
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def geometry_of(beam):
    if beam == "parallel":
        return "line", astra.create_proj_geom("parallel", 1.0, DETECTORS, np.pi * np.arange(VIEWS) / VIEWS)
    angles = 2 * np.pi * np.arange(VIEWS) / VIEWS
    return "line_fanflat", astra.create_proj_geom("fanflat", 2.0, DETECTORS, angles, 1000.0, 1000.0)


def main():
    rng = np.random.default_rng(1)
    volume_geometry = astra.create_vol_geom(SIDE, SIDE)
    image = rng.uniform(-1, 1, (SIDE, SIDE)).astype(np.float32)
    rays = rng.uniform(-1, 1, (VIEWS, DETECTORS)).astype(np.float32)
    results = {"astra": astra.__version__}
    for beam in sys.argv[1:] or ["parallel"]:
        model, geometry = geometry_of(beam)
        projector = astra.create_projector(model, geometry, volume_geometry)
        volume = astra.data2d.create("-vol", volume_geometry, image)
        sinogram = astra.data2d.create("-sino", geometry, rays)
        for name, kind in (("adjoint", "BP"), ("forward", "FP")):
            work = algorithm(kind, projector, volume, sinogram)
            results[f"{name}/{beam}"] = seconds_of(lambda: astra.algorithm.run(work))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
