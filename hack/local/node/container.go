package node

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// command starts the container of the template as a process. Its paths are where the volumes are on
// this machine, its addresses those of this replica; it reaches the API server by the kubeconfig
// beside its token. Nothing routes requests to it that would have to learn that it ends.
func (r *Replica) command(dirs map[string]string) (process.Command, error) {
	container, err := tokenServerOf(r.deployment.spec.template.Spec)
	if err != nil {
		return process.Command{}, err
	}
	if err := r.choosePorts(); err != nil {
		return process.Command{}, err
	}
	variables, err := r.environment(container)
	if err != nil {
		return process.Command{}, err
	}
	var environment, replacements []string
	for _, v := range variables {
		environment = append(environment, v.Name+"="+v.Value)
		replacements = append(replacements, "$("+v.Name+")", v.Value)
	}
	account := ""
	for _, m := range container.VolumeMounts {
		replacements = append(replacements, m.MountPath, dirs[m.Name])
		if m.MountPath == accountPath {
			account = dirs[m.Name]
		}
	}
	var args []string
	translate := strings.NewReplacer(replacements...)
	for _, arg := range container.Args {
		args = append(args, translate.Replace(arg))
	}
	args = append(args, // the last of a flag counts
		"--listen="+r.Listen(), "--status-listen="+r.Status(), "--kubeconfig="+filepath.Join(account, "kubeconfig"), "--shutdown-delay=0s")
	o := r.deployment.node.options
	return process.Command{Path: o.Program, Args: args, Env: environment, Output: process.NewPrefixWriter(o.Log, r.id()+": ")}, nil
}

// accountPath is where programs in a Pod look for the token of their ServiceAccount.
const accountPath = "/var/run/secrets/kubernetes.io/serviceaccount"

// tokenServerOf is the one container of a Pod.
func tokenServerOf(pod corev1.PodSpec) (*corev1.Container, error) {
	if len(pod.Containers) != 1 || len(pod.InitContainers) > 0 {
		return nil, errors.New("this node runs Pods of one container only")
	}
	return &pod.Containers[0], nil
}

// environment returns the variables of a container's environment with their values.
func (r *Replica) environment(container *corev1.Container) ([]corev1.EnvVar, error) {
	fields := map[string]string{"metadata.name": r.name, "metadata.uid": string(r.podUID)}
	var all []corev1.EnvVar
	for _, v := range container.Env {
		value := v.Value
		if v.ValueFrom != nil && v.ValueFrom.FieldRef != nil {
			value = fields[v.ValueFrom.FieldRef.FieldPath]
		}
		if value == "" {
			return nil, fmt.Errorf("variable %s of the container is of a kind that this node does not know", v.Name)
		}
		all = append(all, corev1.EnvVar{Name: v.Name, Value: value})
	}
	return all, nil
}
