package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// namespaces is the value of the flag --namespaces: "identity,shop".
type namespaces []string

// String implements flag.Value.
func (n *namespaces) String() string { return strings.Join(*n, ",") }

// Set implements flag.Value.
func (n *namespaces) Set(text string) error {
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			return fmt.Errorf("%q is no name of a namespace: %s", name, strings.Join(problems, "; "))
		}
		names = append(names, name)
	}
	slices.Sort(names)
	*n = slices.Compact(names)
	return nil
}

// accessible returns the namespaces that exist. It is an error if the manager has no rights in one
// of those, or may not read Namespaces: its caches would never fill, and it would do nothing and say
// nothing. A namespace that does not exist is left out, so that one that is deleted does not keep
// the manager from the others.
func (n namespaces) accessible(ctx context.Context, api *rest.Config) (namespaces, error) {
	if len(n) == 0 {
		return nil, nil
	}
	cluster, err := kubernetes.NewForConfig(api)
	if err != nil {
		return nil, err
	}
	var exist namespaces
	for _, name := range n {
		_, err := cluster.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			ctrl.Log.Info("left out of --namespaces, as it does not exist: create the namespace and the RoleBinding in it, and restart the manager",
				"namespace", name)
			continue
		case apierrors.IsForbidden(err):
			return nil, fmt.Errorf("--namespaces: bind ClusterRole oauth-operator-manager-cluster to the manager's ServiceAccount by a ClusterRoleBinding: %w", err)
		case err != nil:
			return nil, fmt.Errorf("--namespaces: reading namespace %s: %w", name, err)
		}
		if err := mayWorkIn(ctx, cluster, name); err != nil {
			return nil, err
		}
		exist = append(exist, name)
	}
	if exist == nil {
		return nil, fmt.Errorf("--namespaces: none of %s exists", n.String())
	}
	return exist, nil
}

// mayWorkIn asks for one right of the ClusterRole that a RoleBinding in the namespace has to give.
func mayWorkIn(ctx context.Context, cluster kubernetes.Interface, namespace string) error {
	review, err := cluster.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx,
		&authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: namespace, Verb: "list", Group: v1alpha1.GroupVersion.Group, Resource: "authorizationservers",
			},
		}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("--namespaces: asking for the rights in namespace %s: %w", namespace, err)
	}
	if !review.Status.Allowed {
		return fmt.Errorf("--namespaces: the manager has no rights in namespace %s: "+
			"bind ClusterRole oauth-operator-manager to its ServiceAccount by a RoleBinding there, or take the namespace off the list", namespace)
	}
	return nil
}
