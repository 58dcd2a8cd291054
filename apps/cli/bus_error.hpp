#pragma once

namespace postrec {

/// From now on a page of a file in memory that cannot be had (the input was cut while it was in use, or the disk fails) ends the process with one line on stderr and
/// the exit code of input/output errors, instead of a signal. Nothing else can be done: no destructor runs, as after a kill.
void catch_bus_errors();

}  // namespace postrec
