package controllers

import (
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func TestRolesForPeopleWriteWhatPeopleDeclareAndNothingElse(t *testing.T) {
	read := []string{"get", "list", "watch"}
	write := []string{"create", "update", "patch", "delete", "deletecollection"}
	all := append(slices.Clone(read), write...)
	type rights map[string][]string
	for role, may := range map[string]rights{
		"oauth-operator-view": {"oauthclients": read, "resourceservers": read},
		"oauth-operator-edit": {"oauthclients": write, "resourceservers": write},
		"oauth-operator-server-admin": {
			"authorizationservers": all, "authorizationservers/scale": {"get", "update", "patch"}, "oauthusers": all, "identityproviders": all, "oauthidentities": all,
			"oauthgrants": append(slices.Clone(read), "delete", "deletecollection"), "oauthconsents": append(slices.Clone(read), "delete", "deletecollection"),
		},
	} {
		namespace := newNamespace(t)
		user := "user-of-" + role
		create(t, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "user"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		})
		isAllowed := func(verb, group, resource string) bool {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: user,
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: namespace, Verb: verb, Group: group, Resource: resource,
				},
			}}
			create(t, review)
			return review.Status.Allowed
		}
		// The API server authorizes by a cache, which gets the RoleBinding a moment later.
		for resource, verbs := range may {
			eventually.True(t, role+" may "+verbs[0]+" "+resource, func() bool { return isAllowed(verbs[0], "oauth-operator.dev", resource) })
		}
		for group, resources := range map[string][]string{
			"oauth-operator.dev": {
				"authorizationservers", "authorizationservers/scale", "authorizationservers/status", "oauthclients", "oauthclients/status",
				"resourceservers", "resourceservers/status", "oauthusers", "oauthusers/status", "identityproviders", "identityproviders/status", "oauthgrants", "oauthconsents",
				"oauthidentities", "oauthidentities/status",
			},
			"internal.oauth-operator.dev": {"entries", "replicas", "usages", "marks"},
			"":                            {"secrets", "configmaps", "pods", "serviceaccounts"},
			"rbac.authorization.k8s.io":   {"roles", "rolebindings"},
		} {
			for _, resource := range resources {
				for _, verb := range all {
					if wanted := slices.Contains(may[resource], verb); isAllowed(verb, group, resource) != wanted {
						t.Errorf("%s: %s %s: allowed is %v", role, verb, resource, !wanted)
					}
				}
			}
		}
	}
}

// Kubernetes' own roles take up what has their label. Every role that is installed is looked at, so
// that one that is added later is bounded too.
func TestKubernetesOwnRolesGetTheRightsToClientsAndAPIsOnly(t *testing.T) {
	const prefix = "rbac.authorization.k8s.io/aggregate-to-"
	aggregated := map[string][]string{"oauth-operator-view": {prefix + "view"}, "oauth-operator-edit": {prefix + "edit"}}
	ofPrograms := []string{"oauth-operator-manager", "oauth-operator-tokenserver"}
	var roles rbacv1.ClusterRoleList
	if err := admin.List(t.Context(), &roles); err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, role := range roles.Items {
		if !strings.HasPrefix(role.Name, "oauth-operator-") {
			continue
		}
		looked++
		var found []string
		for label, value := range role.Labels {
			if strings.HasPrefix(label, prefix) && value == "true" {
				found = append(found, label)
			}
		}
		if !slices.Equal(found, aggregated[role.Name]) {
			t.Errorf("%s is added to %q, not %q", role.Name, found, aggregated[role.Name])
		}
		for _, rule := range role.Rules {
			if slices.Contains(ofPrograms, role.Name) || !slices.ContainsFunc(rule.Verbs, func(verb string) bool { return !slices.Contains([]string{"get", "list", "watch"}, verb) }) {
				continue
			}
			isStatus := slices.ContainsFunc(rule.Resources, func(resource string) bool {
				return resource == "*" || strings.HasSuffix(resource, "/status") || resource == "*/*"
			})
			if isStatus || slices.Contains(rule.APIGroups, "*") || slices.Contains(rule.APIGroups, internalv1alpha1.GroupVersion.Group) {
				t.Errorf("%s gives the right to write a status or an internal object: %v", role.Name, rule)
			}
		}
	}
	if looked < 8 {
		t.Errorf("only %d roles were looked at", looked)
	}
}
