#pragma once

#include <string>
#include <vector>

#include "pacs_association.hpp"
#include "postrec/data/pacs_get.hpp"

namespace postrec {

struct FoundSeries {
  std::string study;
  std::string series;
};

struct FoundInstance {
  std::string sop_class;  ///< empty when the peer does not tell
  std::string sop_instance;
};

/// The contexts that the queries below need.
PacsContext find_context();

/// The series that match, by C-FIND at STUDY and SERIES level, without duplicates. Throws Error: kPacs, kTemporary, as the association does; kPacs for an answer that holds no UID.
std::vector<FoundSeries> find_series(PacsAssociation& association, const PacsQuery& query);

/// The instances of a series, by C-FIND at IMAGE level; with their classes if asked for and the peer tells them.
std::vector<FoundInstance> find_instances(PacsAssociation& association, const FoundSeries& series, bool with_class);

}  // namespace postrec
