#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

class DcmDataset;

namespace postrec::test {

/// A scan in DICOM-CT-PD of a disc around (x, z) as one sees it who faces the gantry, made by the definitions of the format and no code of ours: source at
/// rho_0 (-sin phi_0, cos phi_0), detector columns along (cos phi_0, sin phi_0), element 1 first.
struct CtPdScan {
  int views = 24, columns = 61, rows = 1;
  double column_mm = 3.0, row_mm = 1.5, radial_mm = 500.0, focal_to_detector_mm = 900.0;
  double central_column = 32.25, central_row = 1.0;
  double x_mm = 20.0, z_mm = -12.0, radius_mm = 25.0;
  double mu_per_mm = 0.0205;           ///< of the disc
  double water_mu_per_mm = 0.0205;     ///< what the files say; 0: nothing
  double photons = 1e5;                ///< PhotonStatistics of every column; 0: none
  double noise = 0.0;                  ///< standard deviation of what is added to a line integral, in a fixed pattern
  std::string shape = "CYLINDRICAL", position = "HFS";
  bool transposed = false;             ///< a picture row is a detector row, which the format does the other way round
  bool unknown = false;                ///< private elements as UN
  std::function<void(DcmDataset&, int view)> change;
};

/// Text that no message may ever hold; it stands in every name.
inline constexpr const char* kProjectionCanary = "ZZCANARY";

/// Writes one file for each view, in names that are not in the order of the views.
void write_ct_pd(const std::filesystem::path& folder, const CtPdScan& scan);

/// Sets a private element, as number(s) or text; as UN where `unknown`.
void put_private(DcmDataset& dataset, unsigned short group, unsigned short element, const std::vector<float>& values, bool unknown = false);
void put_private_short(DcmDataset& dataset, unsigned short group, unsigned short element, unsigned short value, bool unknown = false);
void put_private_text(DcmDataset& dataset, unsigned short group, unsigned short element, const std::string& value, bool unknown = false);

}  // namespace postrec::test
