#include "mri_fourier/mri_fourier.hpp"
#include "postrec/plugin.hpp"

POSTREC_PLUGIN("org.postrec.mri-fourier", POSTREC_VERSION, "Apache-2.0", {postrec::mri_fourier_type()})
