#!/usr/bin/env bash
# What amdgpu-plugin does, on a cluster without any AMD GPU: --help says more.
set -euo pipefail

usage() {
    cat << 'END'
Usage: examples/cluster-demo.sh [options] [-- options of helm install]

Puts the plugin with eight simulated MI300X on one node of the cluster that kubectl points to, has a pod use four
of them, breaks one, repairs it, disturbs the plugin or the kubelet, and removes everything again: five minutes at
most. Every command is shown. Each step either shows what it says, or the demo ends with status 1 and the reason.

Needs kubectl and helm with an administrator's rights, and an image of the plugin that the node has or can pull.
Nothing is touched but a namespace and a ClusterRole of its own and that node's amd.com/gpu; a node that offers GPUs
already is refused, and a cluster whose other nodes do: pods that wait for a GPU there could land on the simulated ones.
What an earlier demo left in that namespace is removed first: one at a time.

  --image NAME             the plugin's image; default: what `make image` makes, localhost/amdgpu-plugin:VERSION
  --node NAME              default: the first that takes ordinary pods and offers no amd.com/gpu
  --namespace NAME         made for the demo, and removed; default: amdgpu-demo
  --prometheus URL         a Prometheus that scrapes this cluster: the alert is awaited there, with the label
                           simulated="true". Where the Prometheus Operator is, PodMonitor and PrometheusRule are made
  --kubelet-restart WORDS  a shell command that kills the node's kubelet and has it start again, as in
                           'docker exec kind-control-plane systemctl kill --signal=KILL kubelet'.
                           Without it, the plugin's pod is deleted instead
  --beside-gpus            go on although other nodes offer amd.com/gpu
  --keep                   leave it installed, to look around
  -h, --help

After -- stand options for helm install, as in:  -- --set podMonitor.labels.release=monitoring
END
}

# --- telling

steps=0
bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
    bold=$'\033[1m' plain=$'\033[0m'
fi

step() {
    steps=$((steps + 1))
    printf '\n%s%d. %s%s\n' "$bold" "$steps" "$1" "$plain"
}

indented() { sed 's/^/   /; s/ *$//'; }

# A line for each word.
say() { printf '%s\n' "$@" | indented; }

# The words as a shell would have to be given them.
quoted() {
    local word line=''
    for word in "$@"; do
        case $word in
            '' | *[!A-Za-z0-9_./:=,@%+-]*) line+=" '${word//\'/\'\\\'\'}'" ;;
            *) line+=" $word" ;;
        esac
    done
    printf '%s' "${line# }"
}

# Show a command, run it, show what it says.
run() {
    say "\$ $(quoted "$@")"
    "$@" 2>&1 | indented || die "this failed: $(quoted "$@")"
}

# The same with stdin, which is shown as well.
run_with() {
    local input
    input=$(cat)
    say "\$ $(quoted "$@") <<END" "$input" END
    printf '%s\n' "$input" | "$@" 2>&1 | indented || die "this failed: $(quoted "$@")"
}

# Reasons are seen wherever stderr goes at the moment.
exec 3>&2

die() {
    printf '\n%s: %s\n' "${0##*/}" "$1" >&3
    shift
    [ $# = 0 ] || printf '%s\n' "$@" | indented >&3
    exit 1
}

# wait_for SECONDS WHAT COMMAND…: until it succeeds; each try may take some seconds more. Of its errors the last counts.
wait_for() {
    local limit=$1 what=$2 began=$SECONDS
    shift 2
    printf '   %s ... ' "$what"
    until "$@" 2> "$errors"; do
        if ((SECONDS - began >= limit)); then
            die "$what: not within $limit s" "$(cat "$errors")"
        fi
        sleep 1
    done
    printf '%d s\n' $((SECONDS - began))
}

# Nothing waits for ever, and what is shown stays readable: the limit is added here.
kubectl() {
    case " $* " in
        *' --timeout='*) command kubectl "$@" ;;
        *) command kubectl --request-timeout=30s "$@" ;;
    esac
}

# --- looking

node_field() { kubectl get node "$node" -o "jsonpath={$1}"; }

offers() { [ "$(node_field '.status.allocatable.amd\.com/gpu')" = "$1" ]; }

offers_none() { [ "$(offered)" = 0 ]; }

offered() {
    local count
    count=$(node_field '.status.allocatable.amd\.com/gpu')
    echo "${count:-0}"
}

plugin_pod() {
    kubectl -n "$namespace" get pods -l "app.kubernetes.io/instance=$release" --field-selector status.phase=Running \
        -o 'jsonpath={range .items[*]}{.metadata.name}|{.metadata.deletionTimestamp}{"\n"}{end}' | sed -n 's/|$//p'
}

# A page of the plugin, through the API server.
page() { kubectl get --raw "/api/v1/namespaces/$namespace/pods/$(plugin_pod):9400/proxy$1"; }

# page_has PATH PATTERN…: a line for each.
page_has() {
    local text pattern
    text=$(page "$1") || return 1
    shift
    for pattern in "$@"; do
        grep -q -- "$pattern" <<< "$text" || return 1
    done
}

# Where the status page names the reason next to the device, without its tags, to the end of what to do.
page_text() {
    page / | tr '\n' ' ' | sed 's/<[^>]*>/ /g' | tr -s ' ' |
        grep -o "Wedged[^.]\{0,40\}$victim.*" | sed -e 's/\(What to do:[^.]*\.\).*/\1/' -e t -e 's/\(.\{240\}[^ ]*\) .*/\1 …/'
}

# Ready, restarted or not, and what it waits for.
plugin_state() {
    kubectl -n "$namespace" get pods -l "app.kubernetes.io/instance=$release" -o 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}|{.status.containerStatuses[*].restartCount}|{.status.containerStatuses[*].state.waiting.reason}{"\n"}{end}'
}

plugin_is_ready() {
    local ready restarts reason
    IFS='|' read -r ready restarts reason <<< "$(plugin_state)" || true
    case ${reason-} in
        ErrImage* | ImagePullBackOff | InvalidImageName) no_image "$reason" ;;
    esac
    if [ "${restarts:-0}" -gt 0 ]; then
        die 'the plugin does not start; its log has the reason'
    fi
    [ "${ready-}" = True ]
}

no_image() {
    die "$node cannot get the image $image ($1)" \
        'Name one that it can pull, by --image; or build it (make image) and bring it to the node:' \
        "kind:      kind load docker-image $image" \
        "k3d:       k3d image import $image" \
        "minikube:  minikube image load $image" \
        'others:    make image ARCHIVE=amdgpu-plugin.tar, then there: ctr -n k8s.io images import amdgpu-plugin.tar'
}

# Of the pods that must not be disturbed: whoever is started anew has other words here.
lives() {
    kubectl -n "$namespace" get pods "$@" -o 'jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{range .status.containerStatuses[*]} {.containerID} {.restartCount} {.state.running.startedAt}{end}{"\n"}{end}'
}

# Device and health of each device of the pod, as the kubelet says.
pod_health() {
    kubectl -n "$namespace" get pod train -o 'jsonpath={range .status.containerStatuses[*].allocatedResourcesStatus[*].resources[*]}{.resourceID} {.health}{"\n"}{end}'
}

pod_health_has() { pod_health | grep -qx "$1"; }

pod_event() {
    kubectl -n "$namespace" get events --field-selector "involvedObject.kind=Pod,involvedObject.name=train,reason=$1" -o name
}

# Events of the node by the plugin, as event/NAME, without those that were there before. $1 may select further.
node_events() {
    local name
    kubectl -n default get events -o name \
        --field-selector "involvedObject.kind=Node,involvedObject.name=$node,source=amdgpu-plugin${1:+,$1}" |
        while read -r name; do
            case $'\n'$earlier_events$'\n' in *$'\n'"$name"$'\n'*) ;; *) echo "$name" ;; esac
        done
}

# with_node_events VERB [SELECTOR]: get or delete them, in sight.
with_node_events() {
    local found=() name
    while read -r name; do found+=("$name"); done < <(node_events "${2-}")
    [ ${#found[@]} = 0 ] || run kubectl -n default "$1" "${found[@]}"
}

has() { [ -n "$("$@")" ]; }

# The alert of this GPU, pending or firing: its part of the JSON.
alert() {
    local text line start='{"labels"' newline=$'\n'
    text=$(curl -fsS --max-time 10 "$prometheus/api/v1/alerts")
    while read -r line; do
        if [[ $line = *'"AmdGpuUnhealthyInUse"'* && $line = *"\"$victim\""* && $line = *"\"$node\""* ]]; then
            printf '%s\n' "$line"
        fi
    done <<< "${text//"$start"/$newline$start}"
}

is_firing() { [[ $(alert) = *Wedged*'"state":"firing"'* ]]; }

is_resolved() { curl -fsS --max-time 10 "$prometheus/api/v1/alerts" > /dev/null && [ -z "$(alert)" ]; }

# Seconds since 1970 at which the node's kubelet started, and how often our resource registered with it since.
kubelet_says() {
    kubectl get --raw "/api/v1/nodes/$node/proxy/metrics" | sed -n "s/^$1 //p"
}

kubelet_is_new() {
    local started
    started=$(kubelet_says process_start_time_seconds) && [ -n "$started" ] && [ "$started" != "$1" ]
}

kubelet_has_plugin() {
    [ -n "$(kubelet_says 'kubelet_device_plugin_registration_total{resource_name="amd.com\/gpu"}')" ]
}

# --- options

repository=$(cd "$(dirname "$0")/.." && pwd)
chart=$repository/helm/amdgpu-plugin
release=demo
image='' node='' namespace=amdgpu-demo prometheus='' kubelet_restart='' beside_gpus='' keep=''
helm_options=()

misused() {
    printf '%s: %s\nTry %s --help\n' "${0##*/}" "$1" "$0" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
        --image | --node | --namespace | --prometheus | --kubelet-restart)
            [ $# -gt 1 ] || misused "$1 needs a value"
            case $1 in
                --image) image=$2 ;;
                --node) node=$2 ;;
                --namespace) namespace=$2 ;;
                --prometheus) prometheus=${2%/} ;;
                --kubelet-restart) kubelet_restart=$2 ;;
            esac
            shift
            ;;
        --beside-gpus) beside_gpus=yes ;;
        --keep) keep=yes ;;
        -h | --help)
            usage
            exit
            ;;
        --)
            shift
            helm_options=("$@")
            break
            ;;
        *) misused "unknown option $1; options of helm stand after --" ;;
    esac
    shift
done

# --- the end, whichever

installed=''
errors=$(mktemp)

remove() {
    if helm status "$release" -n "$namespace" > /dev/null 2>&1; then
        run helm uninstall "$release" -n "$namespace" --wait --timeout 60s
    fi
    run kubectl delete namespace "$namespace" --ignore-not-found --timeout=120s
    if [ -n "${earlier_events+known}" ]; then
        with_node_events delete
    fi
}

on_exit() {
    local status=$?
    exec 2>&3
    trap - EXIT
    trap '' INT TERM
    rm -f "$errors"
    if [ -n "$installed" ] && [ $status != 0 ]; then
        printf '\nThe last words of the plugin:\n' >&2
        kubectl -n "$namespace" get pods,events 2>&1 | tail -n 15 | indented >&2 || true
        kubectl -n "$namespace" logs "daemonset/$release-amdgpu-plugin" --tail=15 2>&1 | indented >&2 || true
    fi
    if [ -n "$installed" ] && [ -n "$keep" ]; then
        printf '\nLeft installed. To remove it: helm uninstall %s -n %s; kubectl delete namespace %s\n' \
            "$release" "$namespace" "$namespace" >&2
    elif [ -n "$installed" ]; then
        printf '\nRemoving what was installed\n' >&2
        remove >&2
    fi
    exit $status
}

trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- what is needed

missing=''
for program in kubectl helm ${prometheus:+curl}; do
    type -P "$program" > /dev/null || missing+=" $program"
done
[ -z "$missing" ] || die "not in PATH:$missing"
[ -f "$chart/Chart.yaml" ] || die "there is no chart in $chart: run the script in its own repository"
for variable in HELM_KUBECONTEXT HELM_KUBEAPISERVER; do
    [ -z "${!variable-}" ] || die "$variable is set: helm and kubectl could mean two clusters; unset it"
done
kubectl get nodes > /dev/null || die 'kubectl reaches no cluster: see kubectl config get-contexts'

if [ -z "$image" ]; then
    image=localhost/amdgpu-plugin:$(sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$chart/Chart.yaml")
fi
# As the chart takes it. What has no dot, colon or `localhost` before the first slash is in docker.io.
digest='' tag='' rest=$image registry=''
case $rest in *@*) digest=${rest#*@} rest=${rest%%@*} ;; esac
case ${rest%%/*} in
    localhost | *.* | *:*)
        case $rest in */*) registry=${rest%%/*} rest=${rest#*/} ;; esac
        ;;
esac
case $rest in *:*) tag=${rest#*:} rest=${rest%%:*} ;; esac
[ -n "$tag$digest" ] || tag=latest
image_values="{registry: \"$registry\", repository: \"$rest\", tag: \"$tag\", digest: \"$digest\"}"

if kubectl get namespace "$namespace" > /dev/null 2>&1; then
    made_by=$(kubectl get namespace "$namespace" -o 'jsonpath={.metadata.labels.amdgpu-plugin-demo}')
    [ "$made_by" = yes ] || die "the namespace $namespace is there and not of this demo: name another by --namespace"
    printf 'An earlier demo was not removed: that comes first\n'
    asked=$node
    node=$(kubectl get namespace "$namespace" -o 'jsonpath={.metadata.annotations.amdgpu-plugin-demo/node}')
    remove
    wait_for 60 "$node offers no GPU any more" offers_none
    node=$asked
fi

# Of each node: name, whether cordoned, effects of its taints, how many GPUs it offers, whether it is ready.
all_nodes() {
    kubectl get nodes -l kubernetes.io/os=linux -o 'jsonpath={range .items[*]}{.metadata.name}|{.spec.unschedulable}|{.spec.taints[*].effect}|{.status.allocatable.amd\.com/gpu}|{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}'
}

first_free_node() {
    local name unschedulable effects gpus ready
    while IFS='|' read -r name unschedulable effects gpus ready; do
        case "$unschedulable $effects " in *true* | *' NoSchedule '* | *' NoExecute '*) continue ;; esac
        if [ "${gpus:-0}" = 0 ] && [ "$ready" = True ]; then
            echo "$name"
            return
        fi
    done < <(all_nodes)
}

# Names of the other nodes that offer GPUs.
others_with_gpus() {
    local name gpus names=''
    while IFS='|' read -r name _ _ gpus _; do
        [ "${gpus:-0}" = 0 ] || [ "$name" = "$node" ] || names+=" $name"
    done < <(all_nodes)
    printf '%s' "$names"
}

if [ -z "$node" ]; then
    node=$(first_free_node)
    [ -n "$node" ] || die 'no node is ready, without a taint and without GPUs: name one by --node'
fi
kubectl get node "$node" > /dev/null || die "there is no node $node: see kubectl get nodes"
offers_none || die "$node offers $(offered) amd.com/gpu already: name a node without GPUs, by --node"
others=$(others_with_gpus)
[ -z "$others" ] || [ -n "$beside_gpus" ] || die "other nodes offer amd.com/gpu:$others" \
    'A pod that waits for one of those would be given a simulated one. Take another cluster,' \
    'or, where nobody can be hurt by it: --beside-gpus'
hostname=$(node_field '.metadata.labels.kubernetes\.io/hostname')
version=$(node_field .status.nodeInfo.kubeletVersion)
plugin=(kubectl -n "$namespace" exec "daemonset/$release-amdgpu-plugin" -- amdgpu-plugin)
began=$SECONDS

# --- the demo

printf 'On the cluster of the context %s, %s\n' "$(kubectl config current-context 2> /dev/null || echo -)" \
    "$(kubectl config view --minify -o 'jsonpath={.clusters[0].cluster.server}')"
step "A namespace that may mount directories of the node ($node, Kubernetes $version)"
installed=yes
earlier_events=''
earlier_events=$(node_events)
run_with kubectl apply -f - << END
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
  labels: {pod-security.kubernetes.io/enforce: privileged, amdgpu-plugin-demo: "yes"}
  annotations: {amdgpu-plugin-demo/node: "$node"}
END

step "The plugin, on this node alone, with eight MI300X that do not exist"
monitored=false
if [ -n "$prometheus" ] && kubectl get crd podmonitors.monitoring.coreos.com prometheusrules.monitoring.coreos.com > /dev/null 2>&1; then
    monitored=true
fi
run_with helm install "$release" "$chart" -n "$namespace" --values - ${helm_options[@]+"${helm_options[@]}"} << END | sed '/^   NOTES:/,$d'
image: $image_values
nodeSelector: {kubernetes.io/hostname: "$hostname"}
tolerations: [{operator: Exists}]
priorityClassName: ""
simulate: {shape: mi300x}
# judged often and well again soon, so that nobody has to wait
config: {health: {interval: 5, recovery_hold: 3}}
# of its own for each demo: nothing of an earlier one is remembered
stateDir: /run/amdgpu-plugin-demo/$(date +%s)
kubernetesEvents: {enabled: true}
podMonitor: {enabled: $monitored, interval: 5s}
prometheusRule: {enabled: $monitored, customRules: {AmdGpuUnhealthyInUse: {for: 10s}}}
END
wait_for 120 'the plugin is registered with the kubelet' plugin_is_ready
wait_for 60 "$node offers 8 amd.com/gpu" offers 8
run kubectl get node "$node" -o 'custom-columns=NODE:.metadata.name,GPUS:.status.allocatable.amd\.com/gpu'

step 'A pod asks for four GPUs'
run_with kubectl -n "$namespace" apply -f - << END
apiVersion: v1
kind: Pod
metadata: {name: train}
spec:
  nodeSelector: {kubernetes.io/hostname: "$hostname"}
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: "$image"
      command: [sh, -c, "env | grep ^AMDGPU_ | sort; ls /dev/kfd /dev/dri/*; exec sleep infinity"]
      resources: {limits: {amd.com/gpu: 4}}
END
has_logged() { kubectl -n "$namespace" logs train | grep -q /dev/dri; }
wait_for 60 'the pod runs' has_logged
run kubectl -n "$namespace" logs train
given=$(kubectl -n "$namespace" logs train | sed -n 's/^AMDGPU_DEVICES=//p')
say '' 'Why these four?'
run "${plugin[@]}" prefer 4 --simulate mi300x
sorted() { tr , '\n' | sort | xargs; }
preferred=$("${plugin[@]}" prefer 4 --simulate mi300x | sed -n 's/^\([0-9a-f]\{4\}:[^ ]*\) .*/\1/p' | sorted)
[ "$(sorted <<< "$given")" = "$preferred" ] || die "the pod was given $given, and not these"
say '' "The pod has these: $given"
victim=${given%%,*}

step "The kernel says that $victim needs a reset, under the running pod"
run "${plugin[@]}" inject "$victim" Wedged
wait_for 60 "$node offers 7 amd.com/gpu: no new pod gets this one" offers 7
run "${plugin[@]}" status

step 'The reason in Kubernetes Events: of the pod, and of the node'
wait_for 60 'the pod has an Event' has pod_event Wedged
run kubectl -n "$namespace" get events --field-selector involvedObject.name=train,reason=Wedged
wait_for 60 'the node has an Event' has node_events reason=Wedged
with_node_events get reason=Wedged

step "The device in the pod's status"
minor=${version#v1.}
if [ "${minor%%.*}" -lt 36 ]; then
    say "allocatedResourcesStatus comes with Kubernetes 1.36, and this node has $version: not shown"
else
    wait_for 60 'the kubelet says so in allocatedResourcesStatus' pod_health_has "$victim Unhealthy"
    run kubectl -n "$namespace" get pod train -o 'jsonpath={range .status.containerStatuses[*].allocatedResourcesStatus[*].resources[*]}{.resourceID} {.health}{"\n"}{end}'
fi

step 'The reason in the metrics, and the alert AmdGpuUnhealthyInUse'
wait_for 60 'the metrics have it' page_has /metrics \
    "^amdgpu_device_healthy{.*device=\"$victim\".*} 0" \
    "^amdgpu_gpu_condition{.*condition=\"Wedged\".*gpu=\"$victim\".*} 1" \
    "^amdgpu_device_allocated{.*device=\"$victim\".*pod=\"train\".*} 1"
say "\$ kubectl get --raw /api/v1/namespaces/$namespace/pods/$(plugin_pod):9400/proxy/metrics | grep $victim"
page /metrics | grep -e "^amdgpu_device_healthy.*$victim" -e "^amdgpu_gpu_condition.*Wedged.*$victim" \
    -e "^amdgpu_device_allocated.*$victim" | indented
if [ -z "$prometheus" ]; then
    say '' 'AmdGpuUnhealthyInUse (critical) fires on these after a minute, in a Prometheus that scrapes the plugin and has' \
        'the rules of helm/amdgpu-plugin/files/rules.yaml. To see it fire, name one: --prometheus URL'
else
    wait_for 180 'the alert fires' is_firing
    say "\$ curl $prometheus/api/v1/alerts"
    alert | grep -oE '"(alertname|severity|simulated|node|gpu|description|state)":"[^"]*"' | indented
fi

step 'The reason on the status page'
wait_for 30 'the page has it' has page_text
say "\$ kubectl get --raw /api/v1/namespaces/$namespace/pods/$(plugin_pod):9400/proxy/"
page_text | fold -s -w 110 | indented
say '' 'In a browser, at http://localhost:9400/:' "\$ kubectl -n $namespace port-forward $(plugin_pod) 9400"

step 'An operator knows of it, and takes the GPU back'
run "${plugin[@]}" ack "$victim" Wedged --reason 'ticket 4711'
wait_for 60 "$node offers 8 amd.com/gpu again, the condition only informs" offers 8
if [ -n "$prometheus" ]; then
    wait_for 120 'the alert is over' is_resolved
fi
say '' 'The driver is loaded anew: the condition is over.'
run "${plugin[@]}" inject "$victim" clear
wait_for 60 'the metrics say so' page_has /metrics "^amdgpu_device_healthy{.*device=\"$victim\".*} 1" \
    "^amdgpu_gpu_condition{.*condition=\"Wedged\".*gpu=\"$victim\".*} 0"
if [ "${minor%%.*}" -ge 36 ]; then
    wait_for 60 'and the pod has four healthy devices' pod_health_has "$victim Healthy"
fi
wait_for 60 "$node offers 8 amd.com/gpu" offers 8
wait_for 60 'the node has an Event of the end' has node_events reason=WedgedCleared
say '' 'All that was told meanwhile, of the node and of the pod:'
with_node_events get
run kubectl -n "$namespace" get events --field-selector involvedObject.name=train,source=amdgpu-plugin

if [ -n "$kubelet_restart" ]; then
    step 'The kubelet is killed, and the pods do not notice'
    kubelet_started=$(kubelet_says process_start_time_seconds)
    before=$(lives)
    say "\$ $kubelet_restart"
    sh -c "$kubelet_restart" 2>&1 | indented || die 'the command of --kubelet-restart failed'
    wait_for 120 'another kubelet runs' kubelet_is_new "$kubelet_started"
    wait_for 60 'the plugin has registered with it' kubelet_has_plugin
    wait_for 60 "$node offers 8 amd.com/gpu" offers 8
    run kubectl -n "$namespace" get pods
    [ "$(lives)" = "$before" ] || die 'a pod was disturbed; before and after:' "$before" "$(lives)"
    say 'No container was started anew.'
else
    step "The plugin's pod is deleted, and the pod with the GPUs does not notice"
    before=$(lives train)
    old=$(plugin_pod)
    run kubectl -n "$namespace" delete pod "$old" --timeout=60s
    is_another() { [ "$(plugin_pod)" != "$old" ] && plugin_is_ready; }
    wait_for 60 'another one is registered' is_another
    wait_for 60 "$node offers 8 amd.com/gpu" offers 8
    run kubectl -n "$namespace" get pods
    [ "$(lives train)" = "$before" ] || die 'the pod was disturbed; before and after:' "$before" "$(lives train)"
    say 'Its container was not started anew.' \
        '' 'The same with a killed kubelet needs the node: --kubelet-restart COMMAND. By hand, there:' \
        '$ systemctl kill --signal=KILL kubelet        # kubeadm, kind, minikube; k3s: the unit is k3s or k3s-agent'
fi

if [ -z "$keep" ]; then
    step 'Everything is removed again'
    installed=''
    remove
    wait_for 60 "$node offers 0 amd.com/gpu; the kubelet keeps the key, by its own design" offers_none
    say 'On the node, until its next boot, stays /run/amdgpu-plugin-demo with a small file.'
fi
printf '\nAll of it was shown, in %d s.\n' "$((SECONDS - began))"
