package kubernetes

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	servedv1alpha1 "github.com/oauth-operator/oauth-operator/api/served/v1alpha1"
	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// pair of a user and a client, by UID.
type pair struct{ user, client string }

// hash of something that must not be seen in a name or label, different for each server: 40 hexadecimal digits.
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

// meta of an object of ours. It goes with its AuthorizationServer.
func (s *Store) meta(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: s.config.Namespace, Name: name, Labels: labels,
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "AuthorizationServer",
			Name: s.config.ServerName, UID: types.UID(s.config.ServerUID),
		}},
	}
}

func (s *Store) labelsOf(p pair) map[string]string {
	return map[string]string{
		v1alpha1.ServerUIDLabel: s.config.ServerUID, v1alpha1.UserLabel: s.userHash(p.user), v1alpha1.ClientLabel: s.clientHash(p.client),
	}
}

// grantObject of a grant, in the version that it was read in.
func (s *Store) grantObject(g storage.Grant, username string) *v1alpha1.OAuthGrant {
	o := &v1alpha1.OAuthGrant{
		ObjectMeta: s.meta(s.grantName(g.ID), s.labelsOf(pair{g.UserUID, g.ClientUID})),
		Spec: v1alpha1.OAuthGrantSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: s.config.ServerName}, ServerUID: types.UID(s.config.ServerUID),
			ID: g.ID, Incarnation: g.Incarnation, Attempt: g.Attempt,
			Username: username, Subject: g.Subject, UserUID: g.UserUID, UserEpoch: g.UserEpoch,
			ClientID: g.ClientID, ClientUID: g.ClientUID,
			SessionHash: g.SessionHash, AuthTime: timestamp(g.AuthTime), AMR: g.AMR,
			Scope: scope(g.Scopes), Resources: g.Resources, APIs: apisObject(g.APIs), Claims: g.Claims,
			RedirectURI: g.RedirectURI, Nonce: g.Nonce, ClaimsRequest: g.ClaimsRequest,
			Consented: g.Consented, ConsentUID: types.UID(g.ConsentUID), Offline: g.Offline,
			Generation: g.Generation, AdvancedAt: timestamp(g.AdvancedAt), SealKID: g.SealKID,
			CreatedAt: timestamp(g.CreatedAt), LastUsedAt: timestamp(g.LastUsed),
			RefreshUntil: timestamp(g.RefreshUntil), ExpiresAt: exactly(g.ExpiresAt),
			EndedAt: timestamp(g.EndedAt), EndReason: g.EndReason,
		},
	}
	o.ResourceVersion = g.Version
	return o
}

func grantOf(o *v1alpha1.OAuthGrant) storage.Grant {
	spec := &o.Spec
	return storage.Grant{
		ID: spec.ID, Version: o.ResourceVersion, Incarnation: spec.Incarnation, Attempt: spec.Attempt,
		ClientUID: spec.ClientUID, ClientID: spec.ClientID, UserUID: spec.UserUID, Subject: spec.Subject, UserEpoch: spec.UserEpoch,
		SessionHash: spec.SessionHash, AuthTime: timeOf(spec.AuthTime), AMR: spec.AMR,
		Scopes: scopes(spec.Scope), Resources: spec.Resources, APIs: apisOf(spec.APIs), Claims: spec.Claims,
		RedirectURI: spec.RedirectURI, Nonce: spec.Nonce, ClaimsRequest: spec.ClaimsRequest,
		Consented: spec.Consented, ConsentUID: string(spec.ConsentUID), Offline: spec.Offline,
		Generation: spec.Generation, AdvancedAt: timeOf(spec.AdvancedAt), SealKID: spec.SealKID,
		CreatedAt: timeOf(spec.CreatedAt), LastUsed: timeOf(spec.LastUsedAt),
		RefreshUntil: timeOf(spec.RefreshUntil), ExpiresAt: spec.ExpiresAt.Time,
		EndedAt: timeOf(spec.EndedAt), EndReason: spec.EndReason,
	}
}

func apisObject(apis []storage.API) []v1alpha1.AuthorizedAPI {
	var objects []v1alpha1.AuthorizedAPI
	for _, api := range apis {
		objects = append(objects, v1alpha1.AuthorizedAPI{Identifier: api.Identifier, UID: types.UID(api.UID), Scopes: api.Scopes})
	}
	return objects
}

func apisOf(objects []v1alpha1.AuthorizedAPI) []storage.API {
	var apis []storage.API
	for _, o := range objects {
		apis = append(apis, storage.API{UID: string(o.UID), Identifier: o.Identifier, Scopes: o.Scopes})
	}
	return apis
}

// scope is one string in the objects, since kubectl shows a list as JSON.
func scope(scopes []string) string { return strings.Join(scopes, " ") }

func scopes(scope string) []string {
	if scope == "" {
		return nil
	}
	return strings.Split(scope, " ")
}

func (s *Store) consentObject(c storage.Consent) *v1alpha1.OAuthConsent {
	p := pair{c.UserUID, c.ClientUID}
	o := &v1alpha1.OAuthConsent{
		ObjectMeta: s.meta(s.consentName(p), s.labelsOf(p)),
		Spec: v1alpha1.OAuthConsentSpec{
			ServerRef: v1alpha1.LocalServerReference{Name: s.config.ServerName}, ServerUID: types.UID(s.config.ServerUID),
			Username: s.username(c.UserUID), UserUID: c.UserUID, ClientUID: c.ClientUID,
			Scope: scope(c.Scopes), APIs: apisObject(c.APIs), Claims: c.Claims,
			GrantedAt: timestamp(c.GrantedAt), UpdatedAt: timestamp(c.UpdatedAt),
		},
	}
	if s.config.ClientID != nil {
		o.Spec.ClientID = s.config.ClientID(c.ClientUID)
	}
	o.ResourceVersion = c.Version
	return o
}

func consentOf(o *v1alpha1.OAuthConsent) storage.Consent {
	return storage.Consent{
		UserUID: o.Spec.UserUID, ClientUID: o.Spec.ClientUID, UID: string(o.UID), Version: o.ResourceVersion,
		Scopes: scopes(o.Spec.Scope), APIs: apisOf(o.Spec.APIs), Claims: o.Spec.Claims,
		GrantedAt: timeOf(o.Spec.GrantedAt), UpdatedAt: timeOf(o.Spec.UpdatedAt),
	}
}

func (s *Store) markObject(name string, m storage.Mark) *servedv1alpha1.Mark {
	return &servedv1alpha1.Mark{
		ObjectMeta: s.meta(name, map[string]string{servedv1alpha1.ServerUIDLabel: s.config.ServerUID}),
		Spec: servedv1alpha1.MarkSpec{
			ServerUID: types.UID(s.config.ServerUID), Kind: string(m.Kind), ExpiresAt: exactly(m.ExpiresAt),
			UserUID: m.UserUID, ClientUID: m.ClientUID, ClientNamespace: m.Namespace,
		},
	}
}

// markOf is the mark of an object, without its id, of which the object has only a hash.
func markOf(o *servedv1alpha1.Mark) storage.Mark {
	return storage.Mark{
		Kind: storage.MarkKind(o.Spec.Kind), ExpiresAt: o.Spec.ExpiresAt.Time,
		UserUID: o.Spec.UserUID, ClientUID: o.Spec.ClientUID, Namespace: o.Spec.ClientNamespace,
	}
}

// username of a user now, for the people who look at the objects.
func (s *Store) username(userUID string) string {
	if s.config.Username == nil {
		return ""
	}
	return s.config.Username(userUID)
}

// exactly a time, to the microsecond.
func exactly(t time.Time) metav1.MicroTime {
	return metav1.NewMicroTime(t.UTC().Truncate(time.Microsecond))
}

// timestamp of a time; nil for none.
func timestamp(t time.Time) *metav1.MicroTime {
	if t.IsZero() {
		return nil
	}
	m := exactly(t)
	return &m
}

func timeOf(m *metav1.MicroTime) time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.Time
}

// versionOf an object as a number: of two versions of objects of a kind, the later one is greater (the API server promises it).
func versionOf(resourceVersion string) uint64 {
	version, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return version
}
