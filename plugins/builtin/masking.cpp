#include "masking/masking.hpp"
#include "postrec/plugin.hpp"

POSTREC_PLUGIN("org.postrec.masking", POSTREC_VERSION, "Apache-2.0", {postrec::masking_type()})
