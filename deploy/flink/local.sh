#!/usr/bin/env bash
# A Flink cluster on this machine, for trials and tests: a JobManager, TaskManagers, Beam's job
# server and a pool of Python workers.
set -euo pipefail
export PYTHONSAFEPATH=1 # Python processes import nothing from the current folder

usage() {
  cat <<'TEXT'
deploy/flink/local.sh fetch [--flink 1.20]   fetch the jars and check their digests, like up
deploy/flink/local.sh up [--flink 1.20] [--task-managers 2] [--slots 1] [--network private|host]
deploy/flink/local.sh run COMMAND...         run a command in the cluster's network, for example
                                             run congener filter --runner flink ...
deploy/flink/local.sh status                 exit code 0: all parts are up; 1: some are; 3: none is
deploy/flink/local.sh down                   end all parts

The cluster has its own network with only a loopback interface, because Beam's servers listen on
every address, and whoever reaches them can run code. Where namespaces aren't allowed,
`--network host` uses the machine's network instead.

CONGENER_FLINK_STATE   process ids, logs, configuration (default: ~/.local/state/congener-flink)
CONGENER_FLINK_JARS    the jars (default: ~/.cache/congener-flink)
PYTHON                 the Python that has congener installed (default: python3)
TEXT
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=${CONGENER_FLINK_STATE:-$HOME/.local/state/congener-flink}
jars=${CONGENER_FLINK_JARS:-$HOME/.cache/congener-flink}
python=${PYTHON:-python3}
flink=1.20 managers=2 slots=1 network=private

fail() { echo "local.sh: $1" >&2; exit "${2:-2}"; }

list_pinned() { (cd "$here" && ls artifacts-*.sha256) | tr '\n' ' '; }

check_jars() { (cd "$1" && sha256sum --check --quiet --strict "$2"); }

fetch() {
  local digests=$here/artifacts-$flink.sha256 folder=$jars/$flink attempt
  [ -f "$digests" ] || fail "the jars of Flink $flink aren't pinned; pinned are $(list_pinned)"
  if [ -d "$folder" ] && check_jars "$folder" "$digests" >/dev/null 2>&1; then return; fi
  command -v mvn >/dev/null || fail "mvn, which fetches the jars, isn't installed"
  mkdir -p "$jars"
  local version; version=$(sed -n 's/.*flink-runtime-\(.*\)\.jar$/\1/p' "$digests")
  for attempt in 1 2 3; do
    rm -rf "$folder.part"
    if timeout 300 mvn --batch-mode --quiet -Dstyle.color=never --file "$here/pom.xml" \
      "-Dflink.version=$version" \
      org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
      -DincludeScope=runtime "-DoutputDirectory=$folder.part"; then break; fi
    [ "$attempt" != 3 ] || fail "the jars can't be fetched; mvn's errors are above"
  done
  diff <(cd "$folder.part" && ls) <(awk '{print $2}' "$digests" | sort) >&2 \
    || fail "the fetched jars aren't the pinned ones; the difference is above"
  check_jars "$folder.part" "$digests" || fail "a fetched jar differs from the pinned one"
  rm -rf "$folder"
  mv "$folder.part" "$folder"
}

alive() { [ -f "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null && ! foreign "$1"; }

foreign() { # whether the process id belongs to a different program, as it may after a reboot
  local words; words=/proc/$(cat "$1")/cmdline
  [ -r "$words" ] && ! tr '\0' ' ' <"$words" | grep -q "local.sh supervise"
}

inside() { # run a command in the cluster's network
  if [ "$(cat "$state/network")" = host ]; then "$@"; return; fi
  local target; target=$(cat "$state/pid/supervisor")
  if [ "$(id -u)" = 0 ]; then nsenter --target "$target" --net -- "$@"
  else nsenter --target "$target" --user --preserve-credentials --net -- "$@"; fi
}

open_port() { inside bash -c "exec 3<>/dev/tcp/localhost/$1" 2>/dev/null; }

count_managers() {
  inside "$python" -c '
import json, urllib.request
answer = urllib.request.urlopen("http://localhost:8081/overview", timeout=5)
print(json.load(answer)["taskmanagers"])' 2>/dev/null || echo 0
}

check_port() { # name, port: print whether a part is up
  if open_port "$2"; then echo "$1: up"; else echo "$1: down"; return 1; fi
}

parts() { # print whether each part is up; the exit code is the number of parts that aren't
  local missing=0 found
  found=$(count_managers)
  echo "Flink $flink: $found of $managers TaskManagers"
  [ "$found" -ge "$managers" ] || missing=$((missing + 1))
  check_port "Beam's job server" 8099 || missing=$((missing + 1))
  check_port "Python worker pool" 50000 || missing=$((missing + 1))
  return "$missing"
}

configure() {
  mkdir -p "$state"/{conf,log,pid,tmp}
  rm -f "$state"/pid/* "$state"/log/*
  {
    cat "$here/flink-conf.yaml"
    echo "taskmanager.numberOfTaskSlots: $slots"
    echo "parallelism.default: $((managers * slots))"
    echo "io.tmp.dirs: $state/tmp"
  } >"$state/conf/config.yaml"
  cp "$here/log4j.properties" "$state/conf/log4j.properties"
  printf 'flink=%s managers=%s slots=%s\n' "$flink" "$managers" "$slots" >"$state/settings"
  echo "$network" >"$state/network"
}

up() {
  if alive "$state/pid/supervisor"; then fail "a cluster is up already (state in $state)"; fi
  command -v java >/dev/null || fail "java isn't installed; Flink needs version 11 or 17"
  "$python" -c 'import pipelines.engines.worker_pool' \
    || fail "$python doesn't have congener installed; set PYTHON to a Python that has"
  fetch
  configure
  local space=()
  if [ "$network" = private ]; then
    space=(unshare --net)
    [ "$(id -u)" = 0 ] || space=(unshare --user --map-root-user --net)
    "${space[@]}" true || fail "this machine doesn't allow a separate network for the cluster; \
with --network host, Beam listens on every address of the machine"
  fi
  setsid "${space[@]}" "$here/local.sh" supervise "$flink" "$managers" "$slots" \
    </dev/null >"$state/log/supervisor.log" 2>&1 &
  local deadline=$((SECONDS + 180))
  until [ -f "$state/pid/supervisor" ] && parts >/dev/null; do
    if [ "$SECONDS" -ge "$deadline" ] \
      || { [ -f "$state/pid/supervisor" ] && ! alive "$state/pid/supervisor"; }; then
      parts >&2 || true
      tail -n 20 "$state"/log/*.log >&2
      down
      fail "the cluster didn't come up; its logs are above" 1
    fi
    sleep 1
  done
  parts
}

keep() { # name, command...: run a command, and run it again whenever it ends
  local name=$1
  shift
  while :; do
    "$@" >>"$state/log/$name.log" 2>&1 &
    echo $! >"$state/pid/$name"
    wait $! && code=0 || code=$?
    echo "$(date -u +%FT%TZ) $name ended with $code; starting it again"
    sleep 1
  done
}

supervise() {
  flink=$1 managers=$2 slots=$3
  [ "$(cat "$state/network")" = host ] || "$python" "$here/loopback.py"
  local opens=() package runtime=org.apache.flink.runtime
  for package in lang lang.reflect io net nio text time util util.concurrent \
    util.concurrent.atomic util.concurrent.locks; do
    opens+=("--add-opens=java.base/java.$package=ALL-UNNAMED")
  done
  opens+=(--add-opens=java.base/sun.nio.ch=ALL-UNNAMED)
  local settings=("-Dlog4j.configurationFile=$state/conf/log4j.properties"
    -XX:+UseSerialGC -XX:TieredStopAtLevel=1)
  local java=(java "${opens[@]}" "${settings[@]}" -cp "$jars/$flink/*") manager
  keep jobmanager "${java[@]}" -Xmx512m $runtime.entrypoint.StandaloneSessionClusterEntrypoint \
    --configDir "$state/conf" &
  for manager in $(seq "$managers"); do
    keep "taskmanager-$manager" "${java[@]}" -Xmx384m -XX:MaxDirectMemorySize=192m \
      $runtime.taskexecutor.TaskManagerRunner --configDir "$state/conf" &
  done
  keep jobserver "${java[@]}" -Xmx512m org.apache.beam.runners.flink.FlinkJobServerDriver \
    --job-host=localhost --job-port=8099 --artifact-port=8098 --expansion-port=0 \
    --flink-master=localhost:8081 "--flink-conf-dir=$state/conf" \
    "--artifacts-dir=$state/tmp/artifacts" &
  local threads=$(($(nproc) / (managers > $(nproc) ? $(nproc) : managers)))
  keep pool env "OMP_NUM_THREADS=$threads" "$python" -m pipelines.engines.worker_pool --port 50000 &
  echo $$ >"$state/pid/supervisor"
  wait
}

down() { # end the supervisor's session, and with it everything that the supervisor started
  if [ -f "$state/pid/supervisor" ] && ! foreign "$state/pid/supervisor"; then
    local session deadline=$((SECONDS + 15))
    session=$(cat "$state/pid/supervisor")
    kill -KILL "$session" 2>/dev/null || true
    pkill -TERM --session "$session" || true
    while pgrep --session "$session" >/dev/null && [ "$SECONDS" -lt "$deadline" ]; do
      sleep 0.3
    done
    pkill -KILL --session "$session" || true
    while pgrep --session "$session" >/dev/null; do sleep 0.1; done
  fi
  rm -rf "$state"/pid/* "$state/tmp"
}

status() {
  alive "$state/pid/supervisor" || { echo "nothing is up"; exit 3; }
  eval "$(cat "$state/settings")"
  parts || exit 1
}

main() { # bash reads a function whole, so the file may change while this one runs
  local command=${1:-help}
  [ $# = 0 ] || shift
  case $command in
    fetch | up)
      while [ $# -gt 0 ]; do
        case $1 in
          --flink) flink=${2:?} ;;
          --task-managers) managers=${2:?} ;;
          --slots) slots=${2:?} ;;
          --network) network=${2:?} ;;
          *) usage >&2; exit 2 ;;
        esac
        shift 2
      done
      [[ $managers =~ ^[1-9][0-9]*$ && $slots =~ ^[1-9][0-9]*$ \
        && $network =~ ^(private|host)$ ]] || { usage >&2; exit 2; }
      "$command"
      ;;
    run)
      alive "$state/pid/supervisor" || fail "nothing is up" 3
      inside "$@"
      ;;
    status | down | supervise) "$command" "$@" ;;
    help | --help | -h) usage ;;
    *) usage >&2; exit 2 ;;
  esac
}

main "$@"
exit
