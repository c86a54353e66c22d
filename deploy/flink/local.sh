#!/usr/bin/env bash
# A Flink cluster on this machine: a JobManager, TaskManagers, Beam's job server, a pool of Python workers; for trying and for tests.
set -euo pipefail

usage() {
  cat <<'TEXT'
deploy/flink/local.sh fetch [--flink 1.20]       get the jars and check their digests; up does it too
deploy/flink/local.sh up [--flink 1.20] [--task-managers 2] [--slots 1] [--network private|host]
deploy/flink/local.sh run COMMAND...             run a command that sees the cluster: run congener filter --runner flink ...
deploy/flink/local.sh status                     exit code 0: all is up; 1: some of it is; 3: nothing is
deploy/flink/local.sh down                       end all of it

The cluster has a network of its own with nothing but loopback in it, since Beam's servers listen on every interface, and anyone
who reaches them can run code; `run` enters it. `--network host` does without, where namespaces aren't allowed.

CONGENER_FLINK_STATE   PIDs, logs, configuration (default ~/.local/state/congener-flink)
CONGENER_FLINK_JARS    the jars (default ~/.cache/congener-flink)
PYTHON                 the Python that congener is installed for (default python3)
TEXT
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=${CONGENER_FLINK_STATE:-$HOME/.local/state/congener-flink}
jars=${CONGENER_FLINK_JARS:-$HOME/.cache/congener-flink}
python=${PYTHON:-python3}
flink=1.20 managers=2 slots=1 network=private

fail() { echo "local.sh: $1" >&2; exit "${2:-2}"; }

fetch() {
  local digests=$here/artifacts-$flink.sha256 folder=$jars/$flink attempt
  [ -f "$digests" ] || fail "Flink $flink isn't among those whose jars are pinned: $(cd "$here" && ls artifacts-*.sha256 | tr '\n' ' ')"
  if [ -d "$folder" ] && (cd "$folder" && sha256sum --check --quiet --strict "$digests") >/dev/null 2>&1; then return; fi
  command -v mvn >/dev/null || fail "mvn isn't installed; it fetches the jars"
  mkdir -p "$jars"
  local version; version=$(sed -n 's/.*flink-runtime-\(.*\)\.jar$/\1/p' "$digests")
  for attempt in 1 2 3; do
    rm -rf "$folder.part"
    if timeout 300 mvn --batch-mode --quiet -Dstyle.color=never --file "$here/pom.xml" "-Dflink.version=$version" \
      org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$folder.part"; then break; fi
    [ "$attempt" != 3 ] || fail "the jars can't be fetched; see above"
  done
  diff <(cd "$folder.part" && ls) <(awk '{print $2}' "$digests" | sort) >&2 || fail "other jars than the pinned ones came"
  (cd "$folder.part" && sha256sum --check --quiet --strict "$digests") || fail "a jar isn't the one that was pinned"
  rm -rf "$folder"
  mv "$folder.part" "$folder"
}

alive() { [ -f "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null && ! foreign "$1"; }

foreign() { [ -r "/proc/$(cat "$1")/cmdline" ] && ! tr '\0' ' ' <"/proc/$(cat "$1")/cmdline" | grep -q "local.sh supervise"; } # after a reboot

inside() { # runs a command in the cluster's network
  if [ "$(cat "$state/network")" = host ]; then "$@"; return; fi
  local target; target=$(cat "$state/pid/supervisor")
  if [ "$(id -u)" = 0 ]; then nsenter --target "$target" --net -- "$@"
  else nsenter --target "$target" --user --preserve-credentials --net -- "$@"; fi
}

open_port() { inside bash -c "exec 3<>/dev/tcp/localhost/$1" 2>/dev/null; }

registered() { inside "$python" -c 'import json, urllib.request as r; print(json.load(r.urlopen("http://localhost:8081/overview", timeout=5))["taskmanagers"])' 2>/dev/null || echo 0; }

parts() { # says of every part whether it is up; the exit code is how many aren't
  local missing=0 found
  found=$(registered)
  if [ "$found" -ge "$managers" ]; then echo "Flink $flink: $found TaskManagers"; else echo "Flink $flink: $found of $managers TaskManagers"; missing=$((missing + 1)); fi
  if open_port 8099; then echo "Beam's job server: up"; else echo "Beam's job server: down"; missing=$((missing + 1)); fi
  if open_port 50000; then echo "Python worker pool: up"; else echo "Python worker pool: down"; missing=$((missing + 1)); fi
  return "$missing"
}

configure() {
  mkdir -p "$state"/{conf,log,pid,tmp}
  rm -f "$state"/pid/* "$state"/log/*
  { cat "$here/flink-conf.yaml"; echo "taskmanager.numberOfTaskSlots: $slots"; echo "parallelism.default: $((managers * slots))"; echo "io.tmp.dirs: $state/tmp"; } >"$state/conf/config.yaml"
  cp "$here/log4j.properties" "$state/conf/log4j.properties"
  printf 'flink=%s managers=%s slots=%s\n' "$flink" "$managers" "$slots" >"$state/settings"
  echo "$network" >"$state/network"
}

up() {
  if alive "$state/pid/supervisor"; then fail "a cluster is up already (state in $state)"; fi
  command -v java >/dev/null || fail "java isn't installed; Flink needs version 11 or 17"
  "$python" -c 'import pipelines.engines.worker_pool' || fail "$python doesn't have congener; name one that has in PYTHON"
  fetch
  configure
  local space=()
  if [ "$network" = private ]; then
    space=(unshare --net)
    [ "$(id -u)" = 0 ] || space=(unshare --user --map-root-user --net)
    "${space[@]}" true || fail "this machine allows no network of the cluster's own; --network host does without, and Beam listens on every interface"
  fi
  setsid "${space[@]}" "$here/local.sh" supervise "$flink" "$managers" "$slots" </dev/null >"$state/log/supervisor.log" 2>&1 &
  local deadline=$((SECONDS + 180))
  until [ -f "$state/pid/supervisor" ] && parts >/dev/null; do
    if [ "$SECONDS" -ge "$deadline" ] || { [ -f "$state/pid/supervisor" ] && ! alive "$state/pid/supervisor"; }; then
      parts >&2 || true
      tail -n 20 "$state"/log/*.log >&2
      down
      fail "the cluster didn't come up; its logs are above" 1
    fi
    sleep 1
  done
  parts
}

keep() { # name, command...: run it, and again whenever it ends
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
  local opens=() package
  for package in lang lang.reflect io net nio text time util util.concurrent util.concurrent.atomic util.concurrent.locks; do opens+=("--add-opens=java.base/java.$package=ALL-UNNAMED"); done
  opens+=(--add-opens=java.base/sun.nio.ch=ALL-UNNAMED "-Dlog4j.configurationFile=$state/conf/log4j.properties" -XX:+UseSerialGC -XX:TieredStopAtLevel=1)
  local java=(java "${opens[@]}" -cp "$jars/$flink/*") manager
  keep jobmanager "${java[@]}" -Xmx512m org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint --configDir "$state/conf" &
  for manager in $(seq "$managers"); do
    keep "taskmanager-$manager" "${java[@]}" -Xmx384m -XX:MaxDirectMemorySize=192m org.apache.flink.runtime.taskexecutor.TaskManagerRunner --configDir "$state/conf" &
  done
  keep jobserver "${java[@]}" -Xmx512m org.apache.beam.runners.flink.FlinkJobServerDriver --job-host=localhost --job-port=8099 --artifact-port=8098 \
    --expansion-port=0 --flink-master=localhost:8081 "--flink-conf-dir=$state/conf" "--artifacts-dir=$state/tmp/artifacts" &
  local threads=$(($(nproc) / (managers > $(nproc) ? $(nproc) : managers)))
  keep pool env "OMP_NUM_THREADS=$threads" "$python" -m pipelines.engines.worker_pool --port 50000 &
  echo $$ >"$state/pid/supervisor"
  wait
}

down() { # the supervisor leads a session of its own, so that all it started, and what that started, can be found
  if [ -f "$state/pid/supervisor" ] && ! foreign "$state/pid/supervisor"; then
    local session deadline=$((SECONDS + 15))
    session=$(cat "$state/pid/supervisor")
    kill -KILL "$session" 2>/dev/null || true
    pkill -TERM --session "$session" || true
    while pgrep --session "$session" >/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.3; done
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

main() { # read as a whole before it runs, so that the file may change under it
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
      [[ $managers =~ ^[1-9][0-9]*$ && $slots =~ ^[1-9][0-9]*$ && $network =~ ^(private|host)$ ]] || { usage >&2; exit 2; }
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
