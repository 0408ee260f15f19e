// Package compile turns the objects that users write into the documents that token servers read. It
// is pure: objects in, documents and findings out, no client, clock, logger or context. testdata
// has examples of each kind of object, with their documents.
//
//	server.go          AuthorizationServer -> server/v1; defaults of lifetimes and rules
//	rules.go           the namespaces of rules, label selectors
//	fetch.go           what the token server may fetch
//	workloads.go       workload issuers and identities of both
//	client.go          OAuthClient -> client/v1, and the default content of its Secret
//	keys.go            the public keys of clients
//	content.go         the content of the Secret and the ConfigMap of an OAuthClient
//	user.go            OAuthUser -> user/v1; bounds of claims
//	identity.go        OAuthIdentity -> identity/v1
//	resourceserver.go  ResourceServer -> resourceserver/v1
//	identityprovider.go  IdentityProvider -> identityprovider/v1, and its examples
//	entry.go           documents -> Entries: their names and owners
//	secretkey.go       keys of Secrets that objects name, and what they must hold
//	ownership.go       to which object a Secret or a ConfigMap belongs
//	problem.go         why an object cannot be used, as in a condition
//	names.go           the names that an object asks for, and those its status says it had
//
// Documents have the documented defaults written out, so that a reader of them needs to know none.
package compile

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

// Finding is a mistake that the API server cannot detect. Field is a path in the object, and
// Message says what to change.
type Finding struct {
	Field   string
	Message string
}

// Findings of one object.
type Findings []Finding

// Limits of what String returns: a condition has room for 32,768 characters, and labels in a
// selector can be of any length.
const (
	maxSentences = 8
	maxSentence  = 512
)

// String returns the findings for a condition: the first few, and how many more there are.
func (f Findings) String() string {
	sentences := make([]string, 0, maxSentences+1)
	for i, finding := range f {
		if i == maxSentences {
			sentences = append(sentences, fmt.Sprintf("and %d more", len(f)-i))
			break
		}
		sentences = append(sentences, clip(finding.Field+": "+finding.Message))
	}
	return strings.Join(sentences, "; ")
}

// clip truncates a sentence that is too long, between two characters.
func clip(sentence string) string {
	if len(sentence) <= maxSentence {
		return sentence
	}
	end := maxSentence
	for !utf8.RuneStart(sentence[end]) {
		end--
	}
	return sentence[:end] + "..."
}

// maxDocument is the size of the largest document in bytes, as a JSON string in its Entry: what the
// schema of Entries allows and etcd stores.
const maxDocument = 1 << 20

// tooLarge returns a finding if a document does not fit into an Entry: an object may be as large as
// the API server accepts, and its document has the defaults besides.
func tooLarge(document any) Findings {
	text, err := documents.Encode(document)
	if err != nil {
		return Findings{{"spec", err.Error()}}
	}
	quoted, err := json.Marshal(text)
	if err != nil || len(quoted) <= maxDocument {
		return nil // a string is always JSON
	}
	return Findings{{"spec", fmt.Sprintf("is too large: what token servers read of it would have %d bytes, and %d fit; shorten the lists of its rules",
		len(quoted), maxDocument)}}
}
