#include "grayscale/grayscale.hpp"
#include "postrec/plugin.hpp"

POSTREC_PLUGIN("org.postrec.grayscale", POSTREC_VERSION, "Apache-2.0", {postrec::grayscale_type()})
