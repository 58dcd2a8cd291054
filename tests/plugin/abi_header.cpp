// The header alone, in each C++ standard that it promises; its own static_asserts are the test.
#include "postrec/abi.h"
