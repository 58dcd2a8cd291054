#include "options/projection_options.hpp"

namespace postrec {
namespace {

namespace po = boost::program_options;

constexpr const char* kMore =
    "\nINPUT: a stack of projections (.mha, .nii.gz, .nrrd: detector columns along x, rows along y, projections along z), or a folder of DICOM-CT-PD files of one axial scan, "
    "which needs no --geometry. A parallel beam gives a slice for each detector row; a diverging one is a fan beam, with one row or --mid-plane. The image is in HU and lies around the isocentre; "
    "--set height=N --set width=N --set pixel-mm=X change its size. Values are line integrals, or photon counts with --noise-model poisson (--help-noise).\n"
    "Without --geometry INPUT is a sinogram, detector along x, views along y, slices along z: say --operator ct-radon --unit hu --set pixel-mm=X and how it was taken (postrec plugins describe ct-radon).\n"
    "\nExample:\npostrec reconstruct projections.mha --geometry geometry.xml --set height=256 --set width=256 --set pixel-mm=1 --blank-scan flat.mha --output result\n";

}  // namespace

void add_projection_options(CommandOptions& options) {
  options.add_topic("ct", "projections of CT scanners", kMore)                                                                              //
      ("geometry", po::value<std::string>()->value_name("FILE"), "geometry of a projection stack: XML as RTK writes it")                    //
      ("mid-plane", po::bool_switch(), "of a cone beam: the slice in the plane of the source alone; other detector rows are left out");
}

ProjectionOptions projection_options(const CommandOptions& options) {
  ProjectionOptions result;
  if (options.has("geometry")) result.geometry_file = options.get<std::string>("geometry");
  result.mid_plane = options.has("mid-plane") && options.get<bool>("mid-plane");
  return result;
}

}  // namespace postrec
