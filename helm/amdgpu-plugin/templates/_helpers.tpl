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

{{- define "amdgpu-plugin.selectorLabels" -}}
app.kubernetes.io/name: {{ include "amdgpu-plugin.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "amdgpu-plugin.labels" -}}
{{ include "amdgpu-plugin.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
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

{{/* The daemon's options, without those that need more than a line in its file. */}}
{{- define "amdgpu-plugin.config" -}}
{{- $elsewhere := dict
  "simulate" "set simulate.shape"
  "device_plugins_dir" "set kubelet.devicePluginsPath, which is mounted as well"
  "pod_resources_dir" "set kubelet.podResourcesPath, which is mounted as well"
  "state_dir" "set stateDir, which is mounted as well"
  "sysfs_root" "the pod has the node's own /sys and no other"
  "dev_root" "the pod does not see the host's /dev" -}}
{{- $config := default dict .Values.config -}}
{{- range $key, $instead := $elsewhere -}}
{{- if hasKey $config $key -}}
{{- fail (printf "config.%s cannot be used in this chart: %s" $key $instead) -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}

{{/* The port of config.http.address, whether written or by default; fails where the kubelet could not reach it. */}}
{{- define "amdgpu-plugin.httpPort" -}}
{{- $http := default dict (default dict .Values.config).http -}}
{{- $address := ":9400" -}}
{{- if hasKey $http "address" -}}
{{- $address = $http.address -}}
{{- end -}}
{{- if or (eq $address "") (regexMatch "^(127\\.|localhost:|\\[::1\\])" $address) -}}
{{- fail (printf "the kubelet and Prometheus cannot reach config.http.address %q: set another, or probes.enabled and podMonitor.enabled to false" $address) -}}
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
{{- $job = printf `job="%s/%s"` .Release.Namespace (include "amdgpu-plugin.fullname" .) -}}
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
