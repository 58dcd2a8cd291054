#include "plugin_test_types.hpp"
#include "postrec/plugin.hpp"

POSTREC_PLUGIN("test.postrec.sdk", "1.0.0", "Apache-2.0", {postrec::test::diagonal_type(), postrec::test::misbehaving_type()})
