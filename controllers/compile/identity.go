package compile

import (
	"fmt"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// Identity returns the document of an OAuthIdentity.
func Identity(o *v1alpha1.OAuthIdentity) (documents.Identity, Findings) {
	doc := documents.Identity{
		UID: string(o.UID), Subject: o.Spec.Subject, Suspended: o.Spec.Suspended, TokensNotBefore: unixSeconds(o.Spec.TokensNotBefore),
	}
	// So there are no two objects about one user, and the API server decides which is the first.
	if name := v1alpha1.OAuthIdentityName(o.Spec.Subject); o.Name != name {
		return doc, Findings{{"metadata.name", fmt.Sprintf("is not %s, as it is for this subject; delete the object and create it under that name", name)}}
	}
	return doc, nil
}

// IdentityName returns the name of what is said about the user of a subject.
func IdentityName(subject string) Name {
	return Name{internalv1alpha1.SpaceIdentitySpec, subject}
}
