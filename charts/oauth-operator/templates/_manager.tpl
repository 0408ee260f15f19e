{{/* The labels by which the manager's Pods are found. */}}
{{- define "oauth-operator.selector" -}}
app.kubernetes.io/name: oauth-operator
app.kubernetes.io/component: manager
{{- end }}

{{/* The labels of all that the manager is made of. */}}
{{- define "oauth-operator.labels" -}}
{{ include "oauth-operator.selector" . }}
app.kubernetes.io/part-of: oauth-operator
{{- end }}

{{/* The image, by its tag, by its digest, or by both. */}}
{{- define "oauth-operator.image" -}}
{{- .Values.image.repository }}
{{- if or .Values.image.tag (not .Values.image.digest) }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* Who the manager is, as the subject of a binding. */}}
{{- define "oauth-operator.subjects" -}}
subjects:
- kind: ServiceAccount
  name: oauth-operator-manager
  namespace: {{ .Release.Namespace }}
{{- end }}
