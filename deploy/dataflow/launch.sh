#!/usr/bin/env bash
# Estimate the cost of a run on Dataflow, stop if it is over the budget, launch the run, and publish
# it when it has ended.
#
#   deploy/dataflow/launch.sh --project P --region R --temp gs://BUCKET/temp --image IMAGE \
#     --machines 8 --machine-type g2-standard-8 \
#     --accelerator 'type:nvidia-l4;count:1;install-nvidia-driver' \
#     --speed 40 --price 0.85 --budget 200 --input gs://BUCKET/corpus --output gs://BUCKET/run \
#     [--traits T] [--signals S] [--bank B] [--config F] [-- more options of `congener filter`]
#
# --speed says how many times as fast as this machine each machine is, as you measured it; --price
# is the price of a machine per hour. Without --accelerator, the run is scored on CPUs in fp32. With
# PRINT=1, the commands are printed but not run.
set -euo pipefail

usage() { sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2; }

declare -A given=([precision]=bf16 [sample]=2000 [budget]="" [accelerator]="" [machine-type]="")
inputs=() work=() more=()
while (($#)); do
  case $1 in
    --input) inputs+=(--input "${2:?--input needs a value}"); shift 2 ;;
    --traits | --signals | --bank | --config | --encoder | --encoder-revision)
      work+=("$1" "${2:?$1 needs a value}"); shift 2 ;;
    --project | --region | --temp | --image | --machines | --machine-type | --accelerator \
      | --speed | --price | --budget | --output | --precision | --sample)
      given[${1#--}]=${2:?$1 needs a value}; shift 2 ;;
    --) shift; more=("$@"); break ;;
    *) echo "unknown option $1" >&2; usage ;;
  esac
done
for name in project region temp image machines speed price budget output; do
  [[ -n ${given[$name]:-} ]] || { echo "--$name is needed" >&2; usage; }
done
((${#inputs[@]})) || { echo "--input is needed" >&2; usage; }

if [[ -n ${given[accelerator]} ]]; then
  hardware=(--device cuda --precision "${given[precision]}" --accelerator "${given[accelerator]}")
else
  hardware=(--device cpu --precision fp32)
fi
beam=(--project="${given[project]}" --region="${given[region]}" --temp_location="${given[temp]}"
  --sdk_container_image="${given[image]}" --disk_size_gb=100)
[[ -z ${given[machine-type]} ]] || beam+=(--machine_type="${given[machine-type]}")

run() {
  if [[ -n ${PRINT:-} ]]; then printf '%q ' "$@"; printf '\n'; else "$@"; fi
}
run congener estimate "${inputs[@]}" "${work[@]}" --machines "${given[machines]}" \
  --speed "${given[speed]}" --price "${given[price]}" --budget "${given[budget]}" \
  --sample "${given[sample]}"
run congener filter --runner dataflow "${inputs[@]}" --output "${given[output]}" \
  --workers "${given[machines]}" "${work[@]}" "${hardware[@]}" "${more[@]}" -- "${beam[@]}"
