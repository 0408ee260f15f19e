package grant

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// Asked is what an authorization asks a user to allow.
type ConsentRequest struct {
	Scopes []string
	// Claims that are asked for one by one (OpenID Connect Core section 5.5).
	Claims []string
	// APIs that are asked for, or that the scopes are of.
	APIs []storage.API
}

// Ask for scopes, resources and claims, as they are now.
func NewConsentRequest(client *registry.Client, scopes, resources, claims []string) ConsentRequest {
	return ConsentRequest{Scopes: scopes, Claims: claims, APIs: apisOf(client, scopes, resources)}
}

// CoveredBy reports whether a consent holds all that is asked. An API without any of its scopes is
// covered by a consent to any of them, and a claim by one to its scope.
func (a ConsentRequest) IsCoveredBy(c storage.Consent) bool {
	for _, scope := range a.Scopes {
		if !slices.Contains(c.Scopes, scope) {
			return false
		}
	}
	for _, claim := range a.Claims {
		if !slices.Contains(c.Claims, claim) && !slices.Contains(c.Scopes, oauth.ScopeOfClaim(claim)) {
			return false
		}
	}
	for _, api := range a.APIs {
		i := slices.IndexFunc(c.APIs, func(allowed storage.API) bool { return allowed.UID == api.UID })
		if i < 0 || !containsAll(c.APIs[i].Scopes, api.Scopes) {
			return false
		}
	}
	return true
}

func containsAll(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// AddTo a consent what is asked. What was allowed of an object that another has replaced under its
// identifier goes.
func (a ConsentRequest) AddTo(c *storage.Consent) {
	grown := c.Clone()
	grown.APIs = slices.DeleteFunc(grown.APIs, func(allowed storage.API) bool {
		return slices.ContainsFunc(a.APIs, func(api storage.API) bool { return api.Identifier == allowed.Identifier && api.UID != allowed.UID })
	})
	for _, api := range a.APIs {
		i := slices.IndexFunc(grown.APIs, func(allowed storage.API) bool { return allowed.UID == api.UID })
		if i < 0 {
			i, grown.APIs = len(grown.APIs), append(grown.APIs, storage.API{UID: api.UID, Identifier: api.Identifier})
		}
		grown.APIs[i].Scopes = union(grown.APIs[i].Scopes, api.Scopes)
	}
	grown.Scopes = slices.DeleteFunc(grown.Scopes, func(scope string) bool {
		return oauth.IsAPIScope(scope) && !slices.ContainsFunc(grown.APIs, func(api storage.API) bool { return slices.Contains(api.Scopes, scope) })
	})
	if slices.Contains(a.Scopes, oauth.ScopeOpenID) {
		// A claim that no scope stands for is asked for by the client's registration alone, and
		// always.
		grown.Claims = slices.DeleteFunc(grown.Claims, func(claim string) bool {
			return !oauth.IsStandardClaim(claim) && !slices.Contains(a.Claims, claim)
		})
	}
	grown.Scopes, grown.Claims = union(grown.Scopes, a.Scopes), union(grown.Claims, a.Claims)
	*c = grown
}

func union(list, more []string) []string {
	for _, item := range more {
		if !slices.Contains(list, item) {
			list = append(list, item)
		}
	}
	return list
}

// Hash of what is asked of a user: 43 characters of base64url. It is another one if another user,
// another object under the same identifier, or anything else is asked.
func (a ConsentRequest) Hash(userUID string) (string, error) {
	asked, err := json.Marshal(struct {
		User string
		ConsentRequest
	}{userUID, a})
	if err != nil {
		return "", fmt.Errorf("encode what is asked: %w", err)
	}
	sum := sha256.Sum256(asked)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// consented reports, by an error, whether the consent that a code rests on is still there and holds
// all of it.
func (s *Service) checkConsent(ctx context.Context, c code, client *registry.Client) error {
	if !c.Consented {
		return nil
	}
	consent, err := s.Store.GetConsent(ctx, c.UserUID, c.ClientUID)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	a := coverageOfCode(c)
	asked := NewConsentRequest(client, a.objects.KeepScopes(client, a.scopes), a.objects.KeepResources(client, a.resources), c.Claims)
	if err != nil || c.ConsentUID == "" || consent.UID != c.ConsentUID || !containsAll(consent.Scopes, c.Scopes) || !asked.IsCoveredBy(consent) {
		return errConsentWithdrawn
	}
	return nil
}

var errConsentWithdrawn = invalidGrant("the user has withdrawn the consent")

// stillConsented ends a new grant whose consent was withdrawn while it was created: what ends
// grants when a consent goes may have found this one not yet.
func (s *Service) endIfWithdrawn(ctx context.Context, c code, client *registry.Client, created storage.Grant) error {
	refused := s.checkConsent(ctx, c, client)
	if !isRefused(refused) {
		return refused
	}
	if err := s.End(ctx, created.ID, storage.EndConsentWithdrawn); err != nil {
		return err
	}
	return refused
}
