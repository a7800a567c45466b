#!/usr/bin/env bash
# A Slurm of two one-processor nodes on this machine, to try sweeps on: Debian or Ubuntu, as root, no systemd, no cgroups.
#
#   slurm_cluster.sh start    installs slurm-wlm and munge where they are missing, starts all daemons, waits until nodes are idle
#   slurm_cluster.sh stop     ends them; munged stays
#
# Its state lies in /tmp/latedecay-slurm; /etc/slurm/slurm.conf is written, unless there is one that is not ours.
set -euo pipefail

STATE=/tmp/latedecay-slurm
CONF=/etc/slurm/slurm.conf
MARK="# written by latedecay's slurm_cluster.sh"

install() {
  command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && return
  apt-get -qq update && apt-get -qq -y install slurm-wlm munge >/dev/null
}

configure() {
  if [ -e "$CONF" ] && ! grep -qxF "$MARK" "$CONF"; then
    echo "$CONF is somebody's: this machine belongs to a cluster already" >&2
    exit 2
  fi
  mkdir -p "$STATE"/{ctl,node1,node2} /etc/slurm
  local memory=$(($(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo) / 3))
  cat >"$CONF" <<CONF
$MARK
ClusterName=latedecay
SlurmctldHost=$(hostname)
SlurmUser=root
AuthType=auth/munge
CryptoType=crypto/munge
StateSaveLocation=$STATE/ctl
SlurmdSpoolDir=$STATE/%n
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/%n.pid
SlurmctldLogFile=$STATE/slurmctld.log
SlurmdLogFile=$STATE/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
SlurmdTimeout=15
InactiveLimit=0
KillWait=5
MinJobAge=300
NodeName=node1 NodeHostname=$(hostname) Port=17011 CPUs=1 RealMemory=$memory
NodeName=node2 NodeHostname=$(hostname) Port=17012 CPUs=1 RealMemory=$memory
PartitionName=cpu Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
CONF
}

start() {
  install
  configure
  mkdir -p /run/munge && chown munge: /run/munge /etc/munge/munge.key
  munge -n 2>/dev/null | unmunge >/dev/null 2>&1 || su -s /bin/sh munge -c munged
  slurmctld
  slurmd -N node1
  slurmd -N node2
  for _ in $(seq 60); do
    [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = 2 ] && sinfo && return
    sleep 0.5
  done
  sinfo
  echo "the nodes did not become idle; see $STATE/*.log" >&2
  exit 1
}

stop() {
  local file pid
  for file in "$STATE"/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 100); do # it writes its state first; a defunct one has
      grep -qs '^State:.[^Z]' "/proc/$pid/status" || break
      sleep 0.1
    done
  done
  rm -rf "$STATE"
  if grep -qxF "$MARK" "$CONF" 2>/dev/null; then rm "$CONF"; fi
}

case "${1:-}" in
  start | stop) "$1" ;;
  *) sed -n '2,8p' "$0" >&2 && exit 2 ;;
esac
