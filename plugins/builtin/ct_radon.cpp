#include "ct_radon/ct_radon.hpp"
#include "postrec/plugin.hpp"

POSTREC_PLUGIN("org.postrec.ct-radon", POSTREC_VERSION, "Apache-2.0", {postrec::ct_radon_type()})
