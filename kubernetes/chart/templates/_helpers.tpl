{{/* The names are fixed: users and scripts address them. One release a namespace. */}}
{{- define "mod-demo.httpd" -}}httpd-server{{- end }}
{{- define "mod-demo.php" -}}php-fpm{{- end }}

{{/* selector: (dict "root" $ "name" NAME) */}}
{{- define "mod-demo.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* labels: (dict "root" $ "name" NAME "component" COMPONENT) */}}
{{- define "mod-demo.labels" -}}
{{ include "mod-demo.selector" . }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: mod-demo
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "mod-demo.httpd.labels" -}}
{{ include "mod-demo.labels" (dict "root" . "name" (include "mod-demo.httpd" .) "component" "frontend") }}
{{- end }}
{{- define "mod-demo.httpd.selector" -}}
{{ include "mod-demo.selector" (dict "root" . "name" (include "mod-demo.httpd" .)) }}
{{- end }}
{{- define "mod-demo.php.labels" -}}
{{ include "mod-demo.labels" (dict "root" . "name" (include "mod-demo.php" .) "component" "backend") }}
{{- end }}
{{- define "mod-demo.php.selector" -}}
{{ include "mod-demo.selector" (dict "root" . "name" (include "mod-demo.php" .)) }}
{{- end }}

{{/* image: (dict "root" $ "image" IMAGE) */}}
{{- define "mod-demo.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* What the Pod Security level "restricted" asks of a pod, and of each container. */}}
{{- define "mod-demo.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10033
runAsGroup: 10033
fsGroup: 10033
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- define "mod-demo.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10033
runAsGroup: 10033
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* scheduling: (dict "spec" .Values.httpd) */}}
{{- define "mod-demo.scheduling" -}}
{{- with .spec.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .spec.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .spec.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .spec.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "mod-demo.handoverSecret" -}}
{{- if eq .Values.handoverKey.mode "existing" -}}
{{ required "handoverKey.existingSecret: name your Secret, or choose another handoverKey.mode" .Values.handoverKey.existingSecret }}
{{- else -}}
{{ include "mod-demo.php" . }}-handover
{{- end -}}
{{- end }}

{{- define "mod-demo.appSecret" -}}
{{- if eq .Values.appSecret.mode "existing" -}}
{{ required "appSecret.existingSecret: name your Secret, or choose another appSecret.mode" .Values.appSecret.existingSecret }}
{{- else -}}
{{ include "mod-demo.php" . }}-app
{{- end -}}
{{- end }}

{{/* The volume source of a key, a file of the name "secret": (dict "name" SECRET "mode" MODE) */}}
{{- define "mod-demo.keyVolume" -}}
secretName: {{ .name }}
defaultMode: 0440
items: [{key: {{ ternary "token" "secret" (eq .mode "serviceAccountToken") }}, path: secret}]
{{- end }}

{{/* A text, or a whole number, which a template else writes as 1e+06. */}}
{{- define "mod-demo.text" -}}
{{ kindIs "string" . | ternary . (int64 . | toString) }}
{{- end }}

{{/* A quantity in bytes. */}}
{{- define "mod-demo.bytes" -}}
{{- $text := include "mod-demo.text" . -}}
{{- $units := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{ mulf (regexFind "^[0-9.]+" $text | float64) (get $units (regexFind "[A-Za-z]*$" $text)) | int64 }}
{{- end }}

{{/* A pod that takes more disk than its containers' limits together is evicted at once, and what is in its volumes is lost. */}}
{{- define "mod-demo.checkDisk" -}}
{{- $need := add (include "mod-demo.bytes" .dataSize) (include "mod-demo.bytes" "2560Mi") -}}
{{- $limit := 0 -}}
{{- range list .resources .sidecar.resources }}
{{- with dig "limits" "ephemeral-storage" "" . }}{{ $limit = add $limit (include "mod-demo.bytes" .) }}{{ end -}}
{{- end }}
{{- if and $limit (lt $limit $need) }}
{{- fail (printf "phpFpm.dataSize %v, with 2.5Gi for /tmp and /app/var, is more than what the pod may take on disk, %dMi: raise phpFpm.sidecar.resources.limits.ephemeral-storage"
  .dataSize (div $limit 1048576)) }}
{{- end }}
{{- end }}

{{/* How long a terminating pod looks for a successor: the grace period without what ending takes. */}}
{{- define "mod-demo.handoffSeconds" -}}
{{ sub .Values.phpFpm.terminationGracePeriodSeconds (add .Values.phpFpm.lingerSeconds 40) | max 10 }}
{{- end }}
