package main

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// containerName is the container of the manager's Deployment that this program runs in.
const containerName = "manager"

// Environment variables that say which Pod this process runs in. The Deployment sets them.
const (
	podNameVariable      = "POD_NAME"
	podNamespaceVariable = "POD_NAMESPACE"
)

// ownImage returns the image of this process's own container, as its Pod's specification names it:
// with the registry, tag or digest of the installation, and after any admission webhook that
// rewrites images. Token servers run from it, so that there is one image to mirror, and both
// programs have the same version.
func ownImage(ctx context.Context, api *rest.Config, getenv func(string) string) (string, error) {
	namespace, name := getenv(podNamespaceVariable), getenv(podNameVariable)
	if namespace == "" || name == "" {
		return "", errors.New("which image do token servers run from? Set --tokenserver-image, or " + podNameVariable + " and " +
			podNamespaceVariable + " in the environment to this process's Pod, for the image of that")
	}
	pods, err := corev1client.NewForConfig(api)
	if err != nil {
		return "", err
	}
	pod, err := pods.Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading this process's Pod %s/%s for its image (or set --tokenserver-image): %w", namespace, name, err)
	}
	for _, container := range pod.Spec.Containers {
		if container.Name == containerName {
			return container.Image, nil
		}
	}
	return "", fmt.Errorf("this process's Pod %s/%s has no container %q, whose image token servers would run from: set --tokenserver-image",
		namespace, name, containerName)
}
