// postrec batch submit under a real Slurm: one host, in namespaces of its own, so that nothing is left and nothing of the machine is touched.
#include <cstdlib>

#include "batch_fixture.hpp"

namespace postrec {
namespace {

namespace fs = std::filesystem;

/// slurm.conf of one node with two cores. Slurm 22.05 without systemd.
std::string slurm_conf(const std::string& state) {
  std::string text =
      "ClusterName=ci\nSlurmctldHost=node0(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\nAuthType=auth/munge\nCredType=cred/munge\n"
      "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSwitchType=switch/none\nMpiDefault=none\nJobAcctGatherType=jobacct_gather/none\n"
      "AccountingStorageType=accounting_storage/none\nSchedulerType=sched/backfill\nSelectType=select/cons_tres\nSelectTypeParameters=CR_Core\n"
      "ReturnToService=2\nRequeueExit=75\nNodeName=node0 NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\n"
      "PartitionName=main Nodes=node0 Default=YES MaxTime=INFINITE State=UP\n";
  for (const char* name : {"StateSaveLocation=STATE/state", "SlurmdSpoolDir=STATE/spool", "SlurmctldPidFile=STATE/slurmctld.pid", "SlurmdPidFile=STATE/slurmd.pid",
                           "SlurmctldLogFile=STATE/slurmctld.log", "SlurmdLogFile=STATE/slurmd.log"}) {
    std::string line = name;
    line.replace(line.find("STATE"), 5, state);
    text += line + "\n";
  }
  return text;
}

/// Starts munge and Slurm in fresh namespaces, submits the batch, stops one element by SIGTERM, lets it begin again at once instead of after Slurm's two minutes, and waits for the report.
/// The worker is held until it has the signal: no machine is too fast for that.
constexpr const char* kScript = R"(set -u
hostname node0
echo "127.0.0.1 localhost node0" > $S/hosts
mount --bind $S/hosts /etc/hosts
for folder in /run /etc/munge /var/lib/munge /var/log/munge /etc/slurm; do mount -t tmpfs tmpfs $folder || exit 90; done
ip link set lo up
ip link add v0 type veth peer name v1 && ip addr add 10.255.0.1/24 dev v0 && ip link set v0 up && ip link set v1 up || exit 91
cp $S/slurm.conf /etc/slurm/slurm.conf
echo "CgroupPlugin=cgroup/v1" > /etc/slurm/cgroup.conf
mkdir -p /run/munge $S/state $S/spool
dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 2>/dev/null
chown -R munge:munge /etc/munge /run/munge /var/lib/munge /var/log/munge
chmod 700 /etc/munge /var/lib/munge /var/log/munge; chmod 400 /etc/munge/munge.key; chmod 755 /run/munge
runuser -u munge -- /usr/sbin/munged --force || exit 92
/usr/sbin/slurmctld -c; /usr/sbin/slurmd -N node0
wait_until() { n=0; until eval "$1"; do n=$((n + 1)); [ $n -lt ${3:-300} ] || { echo "never: $1"; exit 93; }; sleep ${2:-.2}; done; }
# What works at the first case and has SIGTERM in this set of /proc/PID/status: SigCgt, so that it will stop at a checkpoint, or ShdPnd, so that the signal waits for it.
with_sigterm() {
  for pid in $(grep -ls "[/]\.work/sub-01_T1w/" /proc/[0-9]*/cmdline | cut -d/ -f3); do
    mask=$(sed -n "s/^$1:[[:space:]]*//p" /proc/$pid/status 2>/dev/null)
    [ $((0x${mask:-0} >> 14 & 1)) = 0 ] || echo $pid
  done
}
wait_until 'sinfo -h -o %T 2>/dev/null | grep -q idle'
"$POSTREC" batch submit "$OUT" --slurm 3 --submit || exit 94
wait_until 'ls -d "$OUT"/.work/sub-01_T1w/* >/dev/null 2>&1'
wait_until 'HELD=$(with_sigterm SigCgt); [ -n "$HELD" ] && kill -STOP $HELD' .02 3000
JOB=$(squeue -h -r -o "%i" | sed -n 's/^\([0-9]*\)_1$/\1/p')
scancel --signal=TERM --batch ${JOB}_1
wait_until 'with_sigterm ShdPnd | grep -q .'
kill -CONT $HELD
wait_until 'scontrol show job ${JOB}_1 | grep -q "Restarts=1"'
scontrol show job ${JOB}_1 | grep -q "JobState=PENDING" && echo "requeued"
"$POSTREC" batch status "$OUT" --shards 3
wait_until 'scontrol update JobId=${JOB}_1 StartTime=now 2>/dev/null || [ -e "$OUT"/summary.tsv ]'
wait_until '[ -e "$OUT"/summary.tsv ]'
echo "reported"
)";

class SlurmArray : public BatchTest {};

TEST_F(SlurmArray, OneElementIsRequeuedAndTheReportComesLast) {
  for (const char* program : {"slurmctld", "slurmd", "sbatch", "munged", "ip", "unshare", "runuser"})
    if (std::system((std::string("command -v ") + program + " >/dev/null 2>&1 || [ -x /usr/sbin/" + program + " ]").c_str()) != 0) GTEST_SKIP() << program << " is not installed";
  const std::string namespaces = "unshare -m -u -n -p -f --kill-child --mount-proc ";
  if (std::system((namespaces + "true 2>/dev/null").c_str()) != 0) GTEST_SKIP() << "namespaces are not permitted here: root is needed";

  make_bids(3);
  plan("whole");
  auto words = plan_words("out");
  *std::find(words.begin(), words.end(), "3") = "2000";  // levels: long enough to be stopped half-way
  ASSERT_EQ(run_postrec(words).code, 0);
  fs::create_directories(folder_ / "slurm");
  write_text("slurm/slurm.conf", slurm_conf(path("slurm")));
  write_text("slurm/script.sh", kScript);
  const std::string environment = "S='" + path("slurm") + "' OUT='" + path("out") + "' POSTREC='" POSTREC_PROGRAM "' ";
  const int code = std::system((environment + namespaces + "sh '" + path("slurm/script.sh") + "' > '" + path("slurm/said") + "' 2>&1").c_str());
  const std::string said = content("slurm/said");
  if (code != 0 && fs::exists(folder_ / "slurm/slurmctld.log")) ADD_FAILURE() << content("slurm/slurmctld.log");
  ASSERT_EQ(code, 0) << said;
  EXPECT_NE(said.find("requeued"), std::string::npos) << said;
  EXPECT_NE(said.find("shard 1 of 3: 1 cases stopped"), std::string::npos) << said;
  EXPECT_NE(said.find("reported"), std::string::npos) << said;
  EXPECT_EQ(status("out", {"--verify"})["all"]["done"], 3) << said;
  const std::string table = content("out/summary.tsv");
  EXPECT_EQ(table.find("not started"), std::string::npos) << "the report came before the end: " << table;
}

}  // namespace
}  // namespace postrec
