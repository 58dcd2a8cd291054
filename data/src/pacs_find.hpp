#pragma once

#include <string>
#include <vector>

#include "pacs_association.hpp"
#include "postrec/data/pacs_get.hpp"

namespace postrec {

struct FoundInstance {
  std::string sop_class;  ///< empty when the peer does not tell
  std::string sop_instance;
};

struct FoundSeries {
  std::string study;
  std::string series;
  std::vector<FoundInstance> instances;
};

/// The series that match and their instances, by C-FIND at STUDY, SERIES and IMAGE level, without duplicates; with the classes of instances if the peer tells them. Answers are read in a
/// child process. Throws Error: kPacs, kTemporary, as the association does; kPacs for an answer that holds no UID, or that kills the child.
std::vector<FoundSeries> find_all(const PacsPeer& peer, const PacsQuery& query);

/// The same series with the instances that the peer lists, without their classes.
std::vector<FoundSeries> find_instances(const PacsPeer& peer, std::vector<FoundSeries> series);

}  // namespace postrec
