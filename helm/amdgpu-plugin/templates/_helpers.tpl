{{- define "amdgpu-plugin.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "amdgpu-plugin.fullname" -}}
{{- $name := include "amdgpu-plugin.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "amdgpu-plugin.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end }}

{{/* Of what belongs to the cluster as a whole. No namespace has a dot in its name, so no two releases share one. */}}
{{- define "amdgpu-plugin.clusterName" -}}
{{- printf "%s.%s" (include "amdgpu-plugin.namespace" .) (include "amdgpu-plugin.fullname" .) -}}
{{- end }}

{{/* What selectors go by: it never changes, or the API server refuses the upgrade. */}}
{{- define "amdgpu-plugin.selectorLabels" -}}
app.kubernetes.io/name: {{ include "amdgpu-plugin.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Of a DaemonSet and its ConfigMap: (list $ nodeGroup), an empty nodeGroup being all nodes. */}}
{{- define "amdgpu-plugin.groupName" -}}
{{- $name := include "amdgpu-plugin.fullname" (index . 0) -}}
{{- with (index . 1).name -}}
{{- $name = printf "%s-%s" $name . -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{- define "amdgpu-plugin.groupSelectorLabels" -}}
{{- include "amdgpu-plugin.selectorLabels" (index . 0) -}}
{{- with (index . 1).name }}
amdgpu-plugin/node-group: {{ . | quote }}
{{- end -}}
{{- end }}

{{- define "amdgpu-plugin.groupNodeSelector" -}}
{{- toYaml (mergeOverwrite dict (default dict (index . 0).Values.nodeSelector) (default dict (index . 1).nodeSelector)) -}}
{{- end }}

{{/* Pairs of node groups that a node could belong to both of, a line each; fails where one surely does. */}}
{{- define "amdgpu-plugin.overlaps" -}}
{{- $root := . -}}
{{- $earlier := list -}}
{{- range $group := default list .Values.nodeGroups -}}
{{- $selector := include "amdgpu-plugin.groupNodeSelector" (list $root $group) | fromYaml -}}
{{- range $other := $earlier -}}
{{- if eq $other.name $group.name -}}
{{- fail (printf "nodeGroups: two are called %q, and their DaemonSets would be one" $group.name) -}}
{{- end -}}
{{- $same := 0 -}}
{{- $apart := false -}}
{{- range $label, $value := $selector -}}
{{- if hasKey $other.selector $label -}}
{{- if eq $value (get $other.selector $label) -}}
{{- $same = add1 $same -}}
{{- else -}}
{{- $apart = true -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $apart -}}
{{- if or (eq (int $same) (len $selector)) (eq (int $same) (len $other.selector)) -}}
{{- fail (printf "nodeGroups: nodes of %q and %q are the same ones, and two plugins on one node take its GPUs from each other: select them by different values of one label" $other.name $group.name) -}}
{{- end -}}
{{- printf "%s and %s\n" $other.name $group.name -}}
{{- end -}}
{{- end -}}
{{- $earlier = append $earlier (dict "name" $group.name "selector" $selector) -}}
{{- end -}}
{{- end }}

{{/* Labels of an object: the user's, and ours, which win. */}}
{{- define "amdgpu-plugin.labels" -}}
{{- include "amdgpu-plugin.labelsAnd" (list . dict) -}}
{{- end }}

{{/* The same and those that are for this kind of object: (list $ labels). */}}
{{- define "amdgpu-plugin.labelsAnd" -}}
{{- $root := index . 0 -}}
{{- $own := include "amdgpu-plugin.selectorLabels" $root | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ = set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ = set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- toYaml (mergeOverwrite dict (default dict $root.Values.commonLabels) (default dict (index . 1)) $own) -}}
{{- end }}

{{- define "amdgpu-plugin.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "amdgpu-plugin.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "amdgpu-plugin.image" -}}
{{- $name := .Values.image.repository -}}
{{- if .Values.image.registry -}}
{{- $name = printf "%s/%s" .Values.image.registry $name -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end }}

{{/* Fails on values that cannot work together; gives nothing. */}}
{{- define "amdgpu-plugin.check" -}}
{{- $_ := include "amdgpu-plugin.overlaps" . -}}
{{- range $value, $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels -}}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "amdgpu-plugin/node-group" -}}
{{- if hasKey (default dict $labels) $label -}}
{{- fail (printf "%s cannot hold %s: selectors go by it and must never change; choose another label" $value $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.existingConfigMap -}}
{{- if .Values.config -}}
{{- fail "config and existingConfigMap exclude each other: write the options into the ConfigMap that is there" -}}
{{- end -}}
{{- range .Values.nodeGroups -}}
{{- if .config -}}
{{- fail (printf "nodeGroups: config of %q and existingConfigMap exclude each other, since what is in that ConfigMap is not known here" .name) -}}
{{- end -}}
{{- end -}}
{{- if not .Values.http.statusPage -}}
{{- fail "http.statusPage=false is an option in the daemon's file: write http: {status_page: false} into the existingConfigMap" -}}
{{- end -}}
{{- end -}}
{{- $owned := dict
  "config" "set config or existingConfigMap"
  "simulate" "set simulate.shape"
  "http-address" "set config.http.address, which the probes ask at"
  "device-plugins-dir" "set kubelet.devicePluginsPath"
  "pod-resources-dir" "set kubelet.podResourcesPath"
  "state-dir" "set stateDir" -}}
{{- range $flag, $instead := $owned -}}
{{- range $.Values.extraArgs -}}
{{- if or (eq . (printf "--%s" $flag)) (hasPrefix (printf "--%s=" $flag) .) -}}
{{- fail (printf "extraArgs cannot hold --%s: %s" $flag $instead) -}}
{{- end -}}
{{- end -}}
{{- $variable := printf "AMDGPU_PLUGIN_%s" ($flag | upper | replace "-" "_") -}}
{{- range $.Values.extraEnv -}}
{{- if eq .name $variable -}}
{{- fail (printf "extraEnv cannot hold %s: %s" $variable $instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraVolumes -}}
{{- if has .name (list "config" "device-plugins" "pod-resources" "state") -}}
{{- fail (printf "extraVolumes: %q is a volume of the chart's own; choose another name" .name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- fail "podMonitor and serviceMonitor would scrape every pod twice: enable one of them" -}}
{{- end -}}
{{- end }}

{{/* Whether the plugin talks to the API server: "true" or nothing. */}}
{{- define "amdgpu-plugin.talks" -}}
{{- if or .Values.kubernetesEvents.enabled .Values.nodeCondition.enabled -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) -}}
{{- fail "without serviceAccount.create and serviceAccount.name every pod of the namespace would get the rights of kubernetesEvents and nodeCondition: name an account" -}}
{{- end -}}
true
{{- end -}}
{{- end }}

{{/* The daemon's options as its file holds them: (list $ nodeGroup). */}}
{{- define "amdgpu-plugin.config" -}}
{{- $values := (index . 0).Values -}}
{{- $config := deepCopy (default dict $values.config) -}}
{{- with (index . 1).config -}}
{{- $config = mergeOverwrite $config (deepCopy .) -}}
{{- end -}}
{{- $elsewhere := dict
  "simulate" "set simulate.shape"
  "device_plugins_dir" "set kubelet.devicePluginsPath, which is mounted as well"
  "pod_resources_dir" "set kubelet.podResourcesPath, which is mounted as well"
  "state_dir" "set stateDir, which is mounted as well"
  "sysfs_root" "the pod has the node's own /sys and no other"
  "dev_root" "the pod does not see the host's /dev" -}}
{{- range $key, $instead := $elsewhere -}}
{{- if hasKey $config $key -}}
{{- fail (printf "config.%s cannot be used in this chart: %s" $key $instead) -}}
{{- end -}}
{{- end -}}
{{- $kubernetes := default dict $config.kubernetes -}}
{{- if and $kubernetes.events (not $values.kubernetesEvents.enabled) -}}
{{- fail "config.kubernetes.events needs rights: set kubernetesEvents.enabled, which brings them and this option" -}}
{{- end -}}
{{- if and $kubernetes.node_condition (not $values.nodeCondition.enabled) -}}
{{- fail "config.kubernetes.node_condition needs rights: set nodeCondition.enabled, which brings them and this option" -}}
{{- end -}}
{{- if $values.kubernetesEvents.enabled -}}
{{- $_ := set $kubernetes "events" true -}}
{{- end -}}
{{- if $values.nodeCondition.enabled -}}
{{- $_ := set $kubernetes "node_condition" true -}}
{{- $_ = set $kubernetes "node_condition_delay" $values.nodeCondition.delay -}}
{{- end -}}
{{- if include "amdgpu-plugin.talks" (index . 0) -}}
{{- $_ := set $config "kubernetes" $kubernetes -}}
{{- end -}}
{{- if not $values.http.statusPage -}}
{{- $_ := set $config "http" (set (default dict $config.http) "status_page" false) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}

{{/* config.http.address, whether written or by default: (list $ nodeGroup). */}}
{{- define "amdgpu-plugin.httpAddress" -}}
{{- $config := include "amdgpu-plugin.config" . | fromYaml -}}
{{- $http := default dict $config.http -}}
{{- hasKey $http "address" | ternary $http.address ":9400" -}}
{{- end }}

{{/* Its port; fails where nobody outside the pod could reach it: (list $ nodeGroup). */}}
{{- define "amdgpu-plugin.httpPort" -}}
{{- $address := include "amdgpu-plugin.httpAddress" . -}}
{{- if or (eq $address "") (regexMatch "^(127\\.|localhost:|\\[::1\\])" $address) -}}
{{- fail (printf "the kubelet and Prometheus cannot reach config.http.address %q: set another, or probes.enabled, podMonitor.enabled and serviceMonitor.enabled to false" $address) -}}
{{- end -}}
{{- regexFind "[0-9]+$" $address -}}
{{- end }}

{{- define "amdgpu-plugin.affinity" -}}
{{- $affinity := deepCopy (default dict .Values.affinity) -}}
{{- if .Values.gpuNodeAffinity -}}
{{- $gpus := list -}}
{{- range list "pci-1002.present" "pci-0300_1002.present" "pci-0380_1002.present" "pci-1200_1002.present" "amd-gpu" "amd-vgpu" -}}
{{- $label := printf "feature.node.kubernetes.io/%s" . -}}
{{- $gpus = append $gpus (dict "key" $label "operator" "In" "values" (list "true")) -}}
{{- end -}}
{{- $node := default dict $affinity.nodeAffinity -}}
{{- $required := default dict $node.requiredDuringSchedulingIgnoredDuringExecution -}}
{{- $terms := list -}}
{{- /* One of the terms has to hold, all of a term's expressions: both are asked for by each of theirs with each of ours. */ -}}
{{- range $theirs := default (list dict) $required.nodeSelectorTerms -}}
{{- range $gpu := $gpus -}}
{{- $terms = append $terms (set (deepCopy $theirs) "matchExpressions" (append (default list $theirs.matchExpressions) $gpu)) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" (set $required "nodeSelectorTerms" $terms) -}}
{{- $_ = set $affinity "nodeAffinity" $node -}}
{{- end -}}
{{- if $affinity -}}
{{- toYaml $affinity -}}
{{- end -}}
{{- end }}

{{/* The container's: safe, and what the user adds. */}}
{{- define "amdgpu-plugin.securityContext" -}}
{{- $user := default dict .Values.securityContext -}}
{{- if hasKey $user "privileged" -}}
{{- fail "securityContext.privileged: set kfdAccess instead, which says what it is for" -}}
{{- end -}}
{{- /* The kubelet's directories belong to root. */ -}}
{{- $own := dict "runAsUser" 0 "runAsGroup" 0 "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- if eq .Values.kfdAccess "privileged" -}}
{{- if hasKey $user "allowPrivilegeEscalation" -}}
{{- fail "securityContext.allowPrivilegeEscalation is not taken beside kfdAccess=privileged: the API server refuses a privileged container that says no, and no other has it" -}}
{{- end -}}
{{- $_ := set $own "privileged" true -}}
{{- else -}}
{{- $_ := set $own "allowPrivilegeEscalation" false -}}
{{- end -}}
{{- toYaml (mergeOverwrite $own $user) -}}
{{- end }}

{{- define "amdgpu-plugin.podSecurityContext" -}}
{{- $own := dict "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mergeOverwrite $own (default dict .Values.podSecurityContext)) -}}
{{- end }}

{{/* What PodMonitor and ServiceMonitor say alike of an endpoint: (list values relabelings). */}}
{{- define "amdgpu-plugin.endpoint" -}}
{{- $values := index . 0 -}}
port: metrics
path: /metrics
{{- with $values.interval }}
interval: {{ . }}
{{- end }}
{{- with $values.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
# The holders of GPUs are told by the labels namespace, pod and container.
honorLabels: true
relabelings:
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
  {{- with index . 1 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with $values.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Of the targets, by either monitor. */}}
{{- define "amdgpu-plugin.job" -}}
{{- printf "%s/%s" (include "amdgpu-plugin.namespace" .) (include "amdgpu-plugin.fullname" .) -}}
{{- end }}

{{/* files/rules.yaml as the values want it. Its alerts know the plugin's targets by the name of their job. */}}
{{- define "amdgpu-plugin.rules" -}}
{{- $wanted := .Values.prometheusRule -}}
{{- $any := `job=~".*amdgpu-plugin.*"` -}}
{{- $job := $any -}}
{{- if or .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- $job = printf `job="%s"` (include "amdgpu-plugin.job" .) -}}
{{- end -}}
{{- $groups := list -}}
{{- range $group := (.Files.Get "files/rules.yaml" | fromYaml).groups -}}
{{- $rules := list -}}
{{- range $rule := $group.rules -}}
{{- $_ := set $rule "expr" ($rule.expr | replace $any $job) -}}
{{- with $rule.alert -}}
{{- $custom := default dict (get (default dict $wanted.customRules) .) -}}
{{- with $custom.for }}{{ $_ = set $rule "for" . }}{{ end -}}
{{- with $custom.severity }}{{ $_ = set $rule.labels "severity" . }}{{ end -}}
{{- $_ = set $rule.annotations "runbook_url" (printf "%s#%s" $wanted.runbookUrl (lower .)) -}}
{{- end -}}
{{- if not (get (default dict $wanted.disabled) (default "" $rule.alert)) -}}
{{- $rules = append $rules $rule -}}
{{- end -}}
{{- end -}}
{{- $groups = append $groups (set $group "rules" $rules) -}}
{{- end -}}
{{- toYaml (dict "groups" $groups) -}}
{{- end }}
