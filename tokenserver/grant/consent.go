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

// ConsentRequest is what an authorization asks a user to allow.
type ConsentRequest struct {
	Scopes []string
	// Claims that are asked for individually (OpenID Connect Core section 5.5).
	Claims []string
	// APIs that are asked for, or that own a scope.
	APIs []storage.API
}

// NewConsentRequest returns the request for scopes, resources and claims, with the APIs that they
// belong to now.
func NewConsentRequest(client *registry.Client, scopes, resources, claims []string) ConsentRequest {
	return ConsentRequest{Scopes: scopes, Claims: claims, APIs: apisOf(client, scopes, resources)}
}

// IsCoveredBy reports whether a consent contains all that is asked for. A consent to an API covers
// the API without any of its scopes, and a consent to a scope covers the claims of the scope.
func (r ConsentRequest) IsCoveredBy(c storage.Consent) bool {
	for _, scope := range r.Scopes {
		if !slices.Contains(c.Scopes, scope) {
			return false
		}
	}
	for _, claim := range r.Claims {
		if !slices.Contains(c.Claims, claim) && !slices.Contains(c.Scopes, oauth.ScopeOfClaim(claim)) {
			return false
		}
	}
	for _, api := range r.APIs {
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

// AddTo adds what is asked for to a consent. It removes what the user allowed of a ResourceServer
// that another object has replaced under its identifier.
func (r ConsentRequest) AddTo(c *storage.Consent) {
	grown := c.Clone()
	grown.APIs = slices.DeleteFunc(grown.APIs, func(allowed storage.API) bool {
		return slices.ContainsFunc(r.APIs, func(api storage.API) bool { return api.Identifier == allowed.Identifier && api.UID != allowed.UID })
	})
	for _, api := range r.APIs {
		i := slices.IndexFunc(grown.APIs, func(allowed storage.API) bool { return allowed.UID == api.UID })
		if i < 0 {
			i, grown.APIs = len(grown.APIs), append(grown.APIs, storage.API{UID: api.UID, Identifier: api.Identifier})
		}
		grown.APIs[i].Scopes = union(grown.APIs[i].Scopes, api.Scopes)
	}
	grown.Scopes = slices.DeleteFunc(grown.Scopes, func(scope string) bool {
		return oauth.IsAPIScope(scope) && !slices.ContainsFunc(grown.APIs, func(api storage.API) bool { return slices.Contains(api.Scopes, scope) })
	})
	if slices.Contains(r.Scopes, oauth.ScopeOpenID) {
		// Claims that belong to no scope come from the client's registration, and every request
		// asks for all of them.
		grown.Claims = slices.DeleteFunc(grown.Claims, func(claim string) bool {
			return !oauth.IsStandardClaim(claim) && !slices.Contains(r.Claims, claim)
		})
	}
	grown.Scopes, grown.Claims = union(grown.Scopes, r.Scopes), union(grown.Claims, r.Claims)
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

// Hash returns a hash of the user and of what is asked for, 43 characters of base64url. It differs
// for another ResourceServer object under the same identifier.
func (r ConsentRequest) Hash(userUID string) (string, error) {
	asked, err := json.Marshal(struct {
		User string
		ConsentRequest
	}{userUID, r})
	if err != nil {
		return "", fmt.Errorf("encoding a consent request: %w", err)
	}
	sum := sha256.Sum256(asked)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

var errConsentWithdrawn = invalidGrant("the user has withdrawn the consent")

// checkConsent checks that the consent of a code, if it needs one, exists and covers all that the
// code is for.
func (s *Service) checkConsent(ctx context.Context, c code, client *registry.Client) error {
	if !c.Consented {
		return nil
	}
	consent, err := s.Store.GetConsent(ctx, c.UserUID, c.ClientUID)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	a := coverageOfCode(c)
	request := NewConsentRequest(client, a.binding.KeepScopes(client, a.scopes), a.binding.KeepResources(client, a.resources), c.Claims)
	if err != nil || c.ConsentUID == "" || consent.UID != c.ConsentUID || !containsAll(consent.Scopes, c.Scopes) || !request.IsCoveredBy(consent) {
		return errConsentWithdrawn
	}
	return nil
}

// endIfWithdrawn ends a grant that was just created if its consent was withdrawn meanwhile. What
// ends the grants of a withdrawn consent may have run before the grant existed.
func (s *Service) endIfWithdrawn(ctx context.Context, c code, client *registry.Client, created storage.Grant) error {
	refusal := s.checkConsent(ctx, c, client)
	if !isRefused(refusal) {
		return refusal
	}
	if err := s.End(ctx, created.ID, storage.EndConsentWithdrawn); err != nil {
		return err
	}
	return refusal
}
