package kubernetes

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// pair is a user and a client, by UID.
type pair struct{ user, client string }

// hash returns 40 hexadecimal digits in place of something that must not be seen in a name or
// label. Every server has its own.
func (s *Store) hash(kind string, parts ...string) string {
	h := sha256.New()
	for _, part := range append([]string{s.config.ServerUID, kind}, parts...) {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:20])
}

func (s *Store) grantName(id string) string { return "grant-" + s.hash("grant", id) }

func (s *Store) consentName(p pair) string { return "consent-" + s.hash("consent", p.user, p.client) }

func (s *Store) markName(kind storage.MarkKind, id string) string {
	return "mark-" + s.hash("mark", string(kind), id)
}

func (s *Store) userHash(uid string) string   { return s.hash("user", uid) }
func (s *Store) clientHash(uid string) string { return s.hash("client", uid) }

// objectMeta returns the metadata of an object that is deleted with its AuthorizationServer.
func (s *Store) objectMeta(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: s.config.Namespace, Name: name, Labels: labels,
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "AuthorizationServer",
			Name: s.config.ServerName, UID: types.UID(s.config.ServerUID),
		}},
	}
}

func (s *Store) pairLabels(p pair) map[string]string {
	return map[string]string{
		v1alpha1.ServerUIDLabel: s.config.ServerUID, v1alpha1.UserLabel: s.userHash(p.user), v1alpha1.ClientLabel: s.clientHash(p.client),
	}
}

// toGrantObject returns the object of a grant, with the resource version that g was read at.
func (s *Store) toGrantObject(g storage.Grant, username string) *v1alpha1.OAuthGrant {
	o := &v1alpha1.OAuthGrant{
		ObjectMeta: s.objectMeta(s.grantName(g.ID), s.pairLabels(pair{g.UserUID, g.ClientUID})),
		Spec: v1alpha1.OAuthGrantSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: s.config.ServerName}, ServerUID: types.UID(s.config.ServerUID),
			ID:       g.ID,
			Username: username, Subject: g.Subject, UserUID: g.UserUID, UserEpoch: g.UserEpoch,
			ClientID: g.ClientID, ClientUID: g.ClientUID,
			SessionHash: g.SessionHash, AuthTime: toOptionalTime(g.AuthTime), AMR: g.AMR,
			ProviderUID: types.UID(g.ProviderUID), SignedInAt: toOptionalTime(g.SignedInAt),
			Scope: joinScopes(g.Scopes), Resources: g.Resources, APIs: toAuthorizedAPIs(g.APIs), Claims: g.Claims,
			RedirectURI: g.RedirectURI, Nonce: g.Nonce, ClaimsRequest: g.ClaimsRequest,
			Consented: g.Consented, ConsentUID: types.UID(g.ConsentUID), Offline: g.Offline,
			RefreshTokenNumber: g.RefreshTokenNumber, RefreshTokenIssuedAt: toOptionalTime(g.RefreshTokenIssuedAt),
			CreatedAt: toOptionalTime(g.CreatedAt), LastUsedAt: toOptionalTime(g.LastUsedAt),
			RefreshUntil: toOptionalTime(g.RefreshUntil), ExpiresAt: toTime(g.ExpiresAt),
			EndedAt: toOptionalTime(g.EndedAt), EndReason: g.EndReason,
			TokenServerState: v1alpha1.TokenServerState{Incarnation: g.Incarnation, Attempt: g.Attempt, SealingKID: g.SealingKID},
		},
	}
	o.ResourceVersion = g.Version
	return o
}

func fromGrantObject(o *v1alpha1.OAuthGrant) storage.Grant {
	spec, state := &o.Spec, &o.Spec.TokenServerState
	return storage.Grant{
		ID: spec.ID, Version: o.ResourceVersion, Incarnation: state.Incarnation, Attempt: state.Attempt,
		ClientUID: spec.ClientUID, ClientID: spec.ClientID, UserUID: spec.UserUID, Subject: spec.Subject, UserEpoch: spec.UserEpoch,
		SessionHash: spec.SessionHash, AuthTime: fromOptionalTime(spec.AuthTime), AMR: spec.AMR,
		ProviderUID: string(spec.ProviderUID), SignedInAt: fromOptionalTime(spec.SignedInAt),
		Scopes: splitScope(spec.Scope), Resources: spec.Resources, APIs: fromAuthorizedAPIs(spec.APIs), Claims: spec.Claims,
		RedirectURI: spec.RedirectURI, Nonce: spec.Nonce, ClaimsRequest: spec.ClaimsRequest,
		Consented: spec.Consented, ConsentUID: string(spec.ConsentUID), Offline: spec.Offline,
		RefreshTokenNumber: spec.RefreshTokenNumber, RefreshTokenIssuedAt: fromOptionalTime(spec.RefreshTokenIssuedAt), SealingKID: state.SealingKID,
		CreatedAt: fromOptionalTime(spec.CreatedAt), LastUsedAt: fromOptionalTime(spec.LastUsedAt),
		RefreshUntil: fromOptionalTime(spec.RefreshUntil), ExpiresAt: spec.ExpiresAt.Time,
		EndedAt: fromOptionalTime(spec.EndedAt), EndReason: spec.EndReason,
	}
}

func toAuthorizedAPIs(apis []storage.API) []v1alpha1.AuthorizedAPI {
	var objects []v1alpha1.AuthorizedAPI
	for _, api := range apis {
		objects = append(objects, v1alpha1.AuthorizedAPI{Identifier: api.Identifier, UID: types.UID(api.UID), Scopes: api.Scopes})
	}
	return objects
}

func fromAuthorizedAPIs(objects []v1alpha1.AuthorizedAPI) []storage.API {
	var apis []storage.API
	for _, o := range objects {
		apis = append(apis, storage.API{UID: string(o.UID), Identifier: o.Identifier, Scopes: o.Scopes})
	}
	return apis
}

// joinScopes returns scopes as objects have them: in one string, since kubectl shows a list as
// JSON.
func joinScopes(scopes []string) string { return strings.Join(scopes, " ") }

func splitScope(scope string) []string {
	if scope == "" {
		return nil
	}
	return strings.Split(scope, " ")
}

func (s *Store) toConsentObject(c storage.Consent) *v1alpha1.OAuthConsent {
	p := pair{c.UserUID, c.ClientUID}
	o := &v1alpha1.OAuthConsent{
		ObjectMeta: s.objectMeta(s.consentName(p), s.pairLabels(p)),
		Spec: v1alpha1.OAuthConsentSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: s.config.ServerName}, ServerUID: types.UID(s.config.ServerUID),
			Username: s.usernameOf(c.UserUID), UserUID: c.UserUID, ClientUID: c.ClientUID,
			Scope: joinScopes(c.Scopes), APIs: toAuthorizedAPIs(c.APIs), Claims: c.Claims,
			GrantedAt: toOptionalTime(c.GrantedAt), UpdatedAt: toOptionalTime(c.UpdatedAt),
		},
	}
	if s.config.ClientID != nil {
		o.Spec.ClientID = s.config.ClientID(c.ClientUID)
	}
	o.ResourceVersion = c.Version
	return o
}

func fromConsentObject(o *v1alpha1.OAuthConsent) storage.Consent {
	return storage.Consent{
		UserUID: o.Spec.UserUID, ClientUID: o.Spec.ClientUID, UID: string(o.UID), Version: o.ResourceVersion,
		Scopes: splitScope(o.Spec.Scope), APIs: fromAuthorizedAPIs(o.Spec.APIs), Claims: o.Spec.Claims,
		GrantedAt: fromOptionalTime(o.Spec.GrantedAt), UpdatedAt: fromOptionalTime(o.Spec.UpdatedAt),
	}
}

// newIdentityObject returns the object of a subject without a record.
func (s *Store) newIdentityObject(subject string) *v1alpha1.OAuthIdentity {
	return &v1alpha1.OAuthIdentity{
		ObjectMeta: s.objectMeta(v1alpha1.OAuthIdentityName(subject), map[string]string{v1alpha1.ServerUIDLabel: s.config.ServerUID}),
		Spec:       v1alpha1.OAuthIdentitySpec{ServerRef: v1alpha1.LocalServerReference{Name: s.config.ServerName}, Subject: subject},
	}
}

// setIdentity makes i the record that an object has. What others have written into the status stays.
func (s *Store) setIdentity(o *v1alpha1.OAuthIdentity, i storage.Identity) error {
	claims, err := i.MarshalClaims()
	if err != nil {
		return err
	}
	o.Status.Claims = nil
	if claims != nil {
		o.Status.Claims = &runtime.RawExtension{Raw: claims}
	}
	o.Status.ServerUID, o.Status.Provider, o.Status.ProviderUID = types.UID(s.config.ServerUID), i.ProviderName, types.UID(i.ProviderUID)
	o.Status.ClaimsAt, o.Status.LastSignIn = toOptionalTime(i.ClaimsAt), toOptionalTime(i.LastSignIn)
	o.Status.TokenServerState = v1alpha1.IdentityState{AllowHash: i.AllowHash, PasswordChanged: i.PasswordChanged, SealedSubject: i.SealedSubject, Endings: i.Endings}
	return nil
}

// hasIdentity reports whether an object is of this server and has a record. One that the owner wrote
// before the first sign-in has none, nor one that was put back from a dump. Nor has one that is being
// deleted, while a finalizer still keeps it: what the owner said in its spec is not in force any more.
func (s *Store) hasIdentity(o *v1alpha1.OAuthIdentity) bool {
	return o.Spec.ServerRef.Name == s.config.ServerName && string(o.Status.ServerUID) == s.config.ServerUID && o.Status.LastSignIn != nil &&
		o.Name == v1alpha1.OAuthIdentityName(o.Spec.Subject) && o.DeletionTimestamp.IsZero()
}

// fromIdentityObject returns the record that an object has. The UID of the object is the incarnation:
// one that was deleted and put back has another.
func fromIdentityObject(o *v1alpha1.OAuthIdentity) (storage.Identity, error) {
	i := storage.Identity{
		Subject: o.Spec.Subject, Version: o.ResourceVersion, Incarnation: string(o.UID),
		ProviderUID: string(o.Status.ProviderUID), ProviderName: o.Status.Provider,
		ClaimsAt: fromOptionalTime(o.Status.ClaimsAt), LastSignIn: fromOptionalTime(o.Status.LastSignIn),
		AllowHash:       o.Status.TokenServerState.AllowHash,
		PasswordChanged: o.Status.TokenServerState.PasswordChanged, SealedSubject: o.Status.TokenServerState.SealedSubject,
		Endings: o.Status.TokenServerState.Endings,
	}
	var err error
	if o.Status.Claims != nil {
		err = i.UnmarshalClaims(o.Status.Claims.Raw)
	}
	return i, err
}

func (s *Store) toMarkObject(name string, m storage.Mark) *internalv1alpha1.Mark {
	return &internalv1alpha1.Mark{
		ObjectMeta: s.objectMeta(name, map[string]string{internalv1alpha1.ServerUIDLabel: s.config.ServerUID}),
		Spec: internalv1alpha1.MarkSpec{
			ServerUID: types.UID(s.config.ServerUID), Kind: string(m.Kind), ExpiresAt: toTime(m.ExpiresAt),
			UserUID: m.UserUID, ClientUID: m.ClientUID, ClientNamespace: m.Namespace,
		},
	}
}

// fromMarkObject returns the mark of an object, without its ID: the object holds only a hash of
// that.
func fromMarkObject(o *internalv1alpha1.Mark) storage.Mark {
	return storage.Mark{
		Kind: storage.MarkKind(o.Spec.Kind), ExpiresAt: o.Spec.ExpiresAt.Time,
		UserUID: o.Spec.UserUID, ClientUID: o.Spec.ClientUID, Namespace: o.Spec.ClientNamespace,
	}
}

func (s *Store) usernameOf(userUID string) string {
	if s.config.Username == nil {
		return ""
	}
	return s.config.Username(userUID)
}

// toTime returns a time as objects have it: in UTC, in whole microseconds.
func toTime(t time.Time) metav1.MicroTime {
	return metav1.NewMicroTime(t.UTC().Truncate(time.Microsecond))
}

// toOptionalTime is like toTime, and returns nil for the zero time.
func toOptionalTime(t time.Time) *metav1.MicroTime {
	if t.IsZero() {
		return nil
	}
	m := toTime(t)
	return &m
}

func fromOptionalTime(m *metav1.MicroTime) time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.Time
}

// parseVersion returns a resource version as a number, 0 if it is none. Of two versions of objects
// of one kind the greater number is the later one, as the API server guarantees.
func parseVersion(resourceVersion string) uint64 {
	version, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return version
}
