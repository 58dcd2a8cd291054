#pragma once

#include "pacs_reception.hpp"
#include "pacs_transport.hpp"
#include "postrec/data/pacs_listen.hpp"

namespace postrec {

/// How an association with a caller ended.
enum class ServiceEnd { kReleased, kRejected, kLost, kStopped, kTooLarge };

/// Serves one accepted connection, C-ECHO and C-STORE, until the caller releases it, falls silent or breaks the rules. `busy`: only tells it to try again later. Closes the socket.
ServiceEnd serve_caller(int socket, const PacsListenOptions& options, PacsTransport& transport, PacsReception& reception, bool busy);

}  // namespace postrec
