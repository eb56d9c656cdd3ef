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
app.kubernetes.io/name: {{ include "amdgpu-plugin.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
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
{{- if $affinity.nodeAffinity -}}
{{- fail "gpuNodeAffinity and affinity.nodeAffinity exclude each other: write both into affinity.nodeAffinity" -}}
{{- end -}}
{{- $terms := list -}}
{{- range list "pci-1002.present" "pci-0300_1002.present" "pci-0380_1002.present" "pci-1200_1002.present" "amd-gpu" "amd-vgpu" -}}
{{- $label := printf "feature.node.kubernetes.io/%s" . -}}
{{- $terms = append $terms (dict "matchExpressions" (list (dict "key" $label "operator" "In" "values" (list "true")))) -}}
{{- end -}}
{{- $_ := set $affinity "nodeAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms)) -}}
{{- end -}}
{{- if $affinity -}}
{{- toYaml $affinity -}}
{{- end -}}
{{- end }}

{{/* files/rules.yaml as the values want it. Its alerts know the plugin's targets by the name of their job. */}}
{{- define "amdgpu-plugin.rules" -}}
{{- $wanted := .Values.prometheusRule -}}
{{- $any := `job=~".*amdgpu-plugin.*"` -}}
{{- $job := $any -}}
{{- if .Values.podMonitor.enabled -}}
{{- $job = printf `job="%s/%s"` (include "amdgpu-plugin.namespace" .) (include "amdgpu-plugin.fullname" .) -}}
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
