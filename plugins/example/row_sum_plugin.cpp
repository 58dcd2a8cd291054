#include "postrec/plugin.hpp"
#include "row_sum.hpp"

POSTREC_PLUGIN("org.example.row-sum", "1.0.0", "Apache-2.0", {example::row_sum_type()})
