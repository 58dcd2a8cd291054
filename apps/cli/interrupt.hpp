#pragma once

namespace postrec {

/// From now on the first Ctrl-C (SIGINT) or SIGTERM only asks for a clean stop; the second ends the process at once.
void catch_interrupts();

/// The signal that asked for a clean stop, 0 while none did.
int interrupting_signal();

}  // namespace postrec
