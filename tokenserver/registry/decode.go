package registry

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/sharedstrings"
)

// Decoded is an entry whose document has been decoded. That is most of the work of applying it,
// takes milliseconds for an identity provider, and needs no lock. It is immutable.
//
// It does not have the text of the document, but a hash by which the same entry is recognized.
type Decoded struct {
	name         string
	space, value string
	ownerUID     string
	kind         string // of the document; empty: the entry is only a name
	hash         [sha256.Size]byte
	// document is an *entryDocument or *clientRecord, as indexed; nil if there is none, or err is why
	// it cannot be served.
	document any
	err      error
}

// Name returns the name of the entry.
func (d *Decoded) Name() string { return d.name }

// Decode decodes an entry, for ApplyDecoded and Replace. If the same entry is served already, it returns that one:
// reading everything again takes the memory and the time of what has changed.
func (r *Registry) Decode(name string, e Entry) *Decoded {
	hash := hashEntry(e)
	r.mu.RLock()
	served := r.entries[name]
	r.mu.RUnlock()
	if served != nil && served.hash == hash {
		return served
	}
	d := &Decoded{name: name, space: e.Space, value: e.Value, ownerUID: e.OwnerUID, kind: documents.Kind(e.Format), hash: hash}
	share(&d.space)
	share(&d.kind)
	d.document, d.err = decodeDocument(name, e)
	return d
}

func hashEntry(e Entry) [sha256.Size]byte {
	var b []byte
	for _, field := range []string{e.Space, e.Value, e.OwnerUID, e.Format, e.Document} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(field)))
		b = append(b, field...)
	}
	return sha256.Sum256(b)
}

// decodeDocument decodes the document of an entry, and checks what needs no other entry.
func decodeDocument(name string, e Entry) (any, error) {
	switch documents.Kind(e.Format) {
	case "":
		return nil, checkSpace(e.Space)
	case documents.KindServer:
		return decode(name, e, checkServer)
	case documents.KindClient:
		return decodeClient(name, e)
	case documents.KindUser:
		return decode(name, e, checkUser)
	case documents.KindResourceServer:
		return decode(name, e, checkResourceServer)
	case documents.KindNamespace:
		return decode(name, e, checkNamespace)
	case documents.KindIdentityProvider:
		return decodeProvider(name, e)
	case documents.KindIdentity:
		return decode(name, e, checkIdentity)
	}
	return nil, fmt.Errorf("%w %q", documents.ErrFormat, e.Format)
}

// decode decodes a document of one kind. check may complete it.
func decode[T any](name string, e Entry, check func(Entry, *T) error) (any, error) {
	doc, err := documents.Decode[T](e.Format, e.Document)
	if err == nil {
		err = check(e, &doc)
	}
	if err != nil {
		return nil, err
	}
	return &entryDocument[T]{name, doc}, nil
}

func checkSpace(space string) error {
	switch space {
	case SpaceIdentity, SpaceUsername, SpaceScope, SpaceNamespace, SpaceIdentityProvider, SpaceRealm, SpaceIdentitySpec:
		return nil
	}
	return fmt.Errorf("unknown space %q", space)
}

// checkOwner returns an error unless the entry is in the space, and its name and owner are the
// value and the uid that its document has.
func checkOwner(e Entry, space, value, uid string) error {
	switch {
	case e.Space != space:
		return fmt.Errorf("a document of format %s is in space %q, want %q", e.Format, e.Space, space)
	case value == "" || e.Value != value:
		return errors.New("the document is about another name than the entry")
	case uid == "" || e.OwnerUID != uid:
		return errors.New("the document is about another object than the owner of the entry")
	}
	return nil
}

func checkServer(e Entry, doc *documents.Server) error {
	return checkOwner(e, SpaceIdentity, doc.Issuer, doc.UID)
}

func decodeClient(name string, e Entry) (any, error) {
	doc, err := documents.Decode[documents.Client](e.Format, e.Document)
	if err == nil {
		err = checkOwner(e, SpaceIdentity, doc.ID, doc.UID)
	}
	if err != nil {
		return nil, err
	}
	doc.Credentials = withoutRevoked(doc)
	doc.ID, doc.UID = e.Value, e.OwnerUID // equal, and kept once
	shareClientStrings(&doc)
	return &clientRecord{entry: name, document: &doc}, nil
}

// shareClientStrings makes the clients of a server share what many of them have.
func shareClientStrings(doc *documents.Client) {
	for _, s := range []*string{&doc.Namespace, &doc.AuthMethod, &doc.PKCE, &doc.Consent, &doc.IDTokenAlg} {
		share(s)
	}
	for _, list := range [][]string{doc.GrantTypes, doc.Scopes, doc.IDTokenClaims} {
		for i := range list {
			share(&list[i])
		}
	}
	for i := range doc.Credentials {
		share(&doc.Credentials[i].State)
		doc.Credentials[i].Source = "" // which token servers do not read
	}
}

// share replaces a string by an equal one that others have too.
func share(s *string) { sharedstrings.Share(&sharedByEntries, s) }

var sharedByEntries sharedstrings.Table

// withoutRevoked returns the credentials of a client except those that have the value of a revoked
// one.
func withoutRevoked(doc documents.Client) []documents.Credential {
	return slices.DeleteFunc(doc.Credentials, func(c documents.Credential) bool {
		return slices.ContainsFunc(doc.RevokedCredentials, func(revoked documents.RevokedCredential) bool {
			return strings.EqualFold(revoked.SHA256, c.SHA256)
		})
	})
}

// checkUser accepts the document in the entry of either of a user's names.
func checkUser(e Entry, doc *documents.User) error {
	if strings.HasPrefix(doc.Subject, oauth.IdentityPrefix) {
		return fmt.Errorf("the subject begins with %s, as only those of users from identity providers do", oauth.IdentityPrefix)
	}
	space, value := SpaceIdentity, doc.Subject
	if e.Space == SpaceUsername {
		space, value = SpaceUsername, doc.Username
	}
	if err := checkOwner(e, space, value, doc.UID); err != nil {
		return err
	}
	doc.UID = e.OwnerUID    // equal, and kept once
	doc.PasswordSource = "" // which token servers do not read
	return nil
}

func checkResourceServer(e Entry, doc *documents.ResourceServer) error {
	return checkOwner(e, SpaceIdentity, oauth.CanonicalResource(doc.Identifier), doc.UID)
}

func checkNamespace(e Entry, doc *documents.Namespace) error {
	if e.Space != SpaceNamespace || doc.Name == "" || e.Value != doc.Name {
		return errors.New("the document is about another namespace than the entry")
	}
	if doc.Labels == nil {
		doc.Labels = map[string]string{} // nil would mean that its labels are not known
	}
	return nil
}

func checkIdentity(e Entry, doc *documents.Identity) error {
	if err := checkOwner(e, SpaceIdentitySpec, doc.Subject, doc.UID); err != nil {
		return err
	}
	if !strings.HasPrefix(doc.Subject, oauth.IdentityPrefix) {
		return fmt.Errorf("the subject does not begin with %s, as those of users from identity providers do", oauth.IdentityPrefix)
	}
	return nil
}
