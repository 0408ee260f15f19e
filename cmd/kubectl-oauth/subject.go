package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/cmd/kubectl-oauth/cluster"
	"github.com/oauth-operator/oauth-operator/controllers/compile"
	"github.com/oauth-operator/oauth-operator/tokenserver/subjects"
)

type subjectCommand struct {
	*options

	provider string
	output   string
}

// derivedSubject is the output of subject -o json. It is documented in docs/kubectl-oauth.md, and
// stable.
type derivedSubject struct {
	Subject  string `json:"subject"`
	Name     string `json:"name"`
	Provider string `json:"provider"`
	Server   string `json:"server"`
}

func newSubjectCommand(o *options) *cobra.Command {
	s := &subjectCommand{options: o}
	command := &cobra.Command{
		Use:   "subject --provider NAME VALUE",
		Short: "Derive the sub of a user of an identity provider, who may never have signed in",
		Long: `Derive the sub that a user of an identity provider has here. The user need not have
signed in. VALUE is how the provider knows the user, exactly as it says it: the claim sub
of its ID tokens, or oid with spec.oidc.subjectClaim: oid; in a directory, the value of
spec.ldap.users.subjectAttribute. An objectGUID is in the form of Active Directory's
tools, or in base64 as ldapsearch prints it.`,
		Example: `  kubectl oauth subject -n identity --provider acme 248289761001
  kubectl oauth suspend -n identity identity/$(kubectl oauth subject -n identity --provider staff 0d8a6e5c-52b4-103f-8b6a-9d5bd5b5cf0e)`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || s.provider == "" {
				return usageError("want --provider NAME and how the provider knows the user, such as: " +
					"kubectl oauth subject --provider acme 248289761001")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return s.run(c.Context(), args[0]) },
	}
	command.Flags().StringVar(&s.provider, "provider", "", "The IdentityProvider of the user.")
	addOutputFlag(command, &s.output)
	return command
}

func (s *subjectCommand) run(ctx context.Context, value string) error {
	if err := checkOutput(s.output); err != nil {
		return err
	}
	c, namespace, err := s.cluster()
	if err != nil {
		return err
	}
	var provider v1alpha1.IdentityProvider
	if err := c.Get(ctx, &provider, namespace, s.provider); err != nil {
		return err
	}
	accepted := meta.FindStatusCondition(provider.Status.Conditions, v1alpha1.ConditionAccepted)
	if accepted != nil && accepted.Reason == v1alpha1.ReasonRealmTaken {
		return fmt.Errorf("IdentityProvider %s/%s does not have its realm, so it has no users: %s",
			namespace, provider.Name, accepted.Message)
	}
	var server v1alpha1.AuthorizationServer
	if err := c.Get(ctx, &server, namespace, provider.Spec.ServerRef.Name); err != nil {
		return err
	}
	document, _ := compile.IdentityProvider(&provider) // a mistake elsewhere does not change the subject
	upstream, err := upstreamSubject(document.SubjectAttribute, value)
	if err != nil {
		return err
	}
	subject, err := subjects.Derive(server.Spec.Issuer, document.Type, document.Realm, document.SubjectAttribute, upstream)
	if err != nil {
		return err
	}
	if s.output == outputJSON {
		return s.printJSON(derivedSubject{
			Subject: subject, Name: v1alpha1.OAuthIdentityName(subject), Provider: provider.Name, Server: server.Name,
		})
	}
	fmt.Fprintln(s.out, subject)
	return nil
}

var uuid = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// upstreamSubject returns the bytes that a provider identifies a user by, from what people see of
// them. A mistyped value would be that of another user, whom the provider does not have: what cannot be
// right is refused.
func upstreamSubject(attribute, value string) ([]byte, error) {
	switch attribute {
	case "objectGUID":
		return parseObjectGUID(value)
	case "entryUUID", "ipaUniqueID", "oid":
		if !uuid.MatchString(value) || value != strings.ToLower(value) {
			return nil, fmt.Errorf("%q is no %s, which is in lower case, like 0d8a6e5c-52b4-103f-8b6a-9d5bd5b5cf0e",
				value, attribute)
		}
	}
	if strings.TrimSpace(value) != value {
		return nil, fmt.Errorf("%q begins or ends with white space", value)
	}
	return []byte(value), nil
}

// parseObjectGUID parses the two forms in which an objectGUID is shown. In that with hyphens the first
// three numbers are in the other order of bytes than in the attribute ([MS-DTYP] section 2.3.4).
func parseObjectGUID(value string) ([]byte, error) {
	value = strings.Trim(value, "{}")
	if decoded, err := base64.StdEncoding.DecodeString(value); err == nil && len(decoded) == 16 {
		return decoded, nil
	}
	if !uuid.MatchString(value) {
		return nil, fmt.Errorf("%q is no objectGUID: want it like 6fbc3a7e-1b0f-4d2a-9c1e-2f3a4b5c6d7e, or in base64", value)
	}
	guid, err := hex.DecodeString(strings.ReplaceAll(value, "-", ""))
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(guid, binary.BigEndian.Uint32(guid))
	binary.LittleEndian.PutUint16(guid[4:], binary.BigEndian.Uint16(guid[4:]))
	binary.LittleEndian.PutUint16(guid[6:], binary.BigEndian.Uint16(guid[6:]))
	return guid, nil
}

// addCreationFlags has a command create the OAuthIdentity of a user who has none.
func (c *changeCommand) addCreationFlags(command *cobra.Command) {
	c.creates = true
	command.Flags().StringVar(&c.authServer, "authserver", "",
		"The AuthorizationServer of a user who has no OAuthIdentity yet. Default: the only one of the namespace.")
}

// newIdentity returns the OAuthIdentity to create for a user who has none.
func (c *changeCommand) newIdentity(
	ctx context.Context, reached *cluster.Cluster, reference cluster.Reference, namespace string,
) (client.Object, error) {
	server := c.authServer
	if server == "" {
		var list v1alpha1.AuthorizationServerList
		if err := reached.List(ctx, &list, namespace); err != nil {
			return nil, fmt.Errorf("the user has no OAuthIdentity yet, and for which AuthorizationServer to create one "+
				"is not known (--authserver says it): %w", err)
		}
		var names []string
		for i := range list.Items {
			names = append(names, list.Items[i].Name)
		}
		if len(names) != 1 {
			return nil, usageError("the user has no OAuthIdentity yet, and namespace %q has the AuthorizationServers [%s]: "+
				"say with --authserver whose user it is",
				namespace, strings.Join(names, " "))
		}
		server = names[0]
	} else if err := reached.Get(ctx, &v1alpha1.AuthorizationServer{}, namespace, server); err != nil {
		return nil, err
	}
	return &v1alpha1.OAuthIdentity{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: reference.Name},
		Spec: v1alpha1.OAuthIdentitySpec{
			ServerRef: v1alpha1.LocalServerReference{Name: server}, Subject: reference.Subject,
		},
	}, nil
}
