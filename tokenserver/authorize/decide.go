package authorize

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// proceed redirects to the page that is next, or responds to the client. It decides anew each time,
// from the flow and from the current state of session, consent and registry, so it does not matter
// which link led the browser here.
func (h *Handler) proceed(w http.ResponseWriter, r *http.Request, flow *interaction.ResolvedFlow) error {
	web.NoteGrantType(r.Context(), flow.GrantTypes()[0])
	step, approved, err := h.decide(r, flow)
	switch {
	case err != nil:
		return respondWithError(w, r, flow, err)
	case step != 0:
		return h.Flows.RedirectTo(w, r, flow, step)
	}
	parameters, err := h.responseParameters(flow, approved)
	if err != nil {
		return respondWithError(w, r, flow, err)
	}
	if err := h.Sessions.Touch(w, flow.Server, approved.session); err != nil {
		return err
	}
	return respond(w, flow, parameters)
}

// approval is what a successful response is based on.
type approval struct {
	session *session.Session
	user    *registry.User
	// consentUID is the UID of the stored consent; empty if none is required.
	consentUID string
}

// signIn returns the UID of the identity provider where the user signed in, and when, in Unix
// seconds. An OAuthUser has no provider, and the login is the authentication.
func (a *approval) signIn() (providerUID string, at int64) {
	if a.session.ProviderUID == "" {
		return "", 0
	}
	return a.session.ProviderUID, a.session.StartedAt
}

// decide returns the page that is next, or 0 and the approval. With prompt none, the page that
// would be next is an error (OpenID Connect Core section 3.1.2.6).
func (h *Handler) decide(r *http.Request, flow *interaction.ResolvedFlow) (interaction.Step, *approval, error) {
	if flow.Denied {
		return 0, nil, oauth.Errorf(oauth.AccessDenied, "the user refused")
	}
	if flow.Failure == interaction.FailureNotFresh {
		return 0, nil, oauth.Errorf(oauth.LoginRequired, "the user has to sign in anew, and the identity provider does not say that the user did")
	}
	promptNone := flow.HasPrompt(oauth.PromptNone)
	if promptNone && flow.Client.RequiresInteraction(flow.RedirectURI) {
		return 0, nil, oauth.Errorf(oauth.InteractionRequired,
			"prompt none is not allowed: the user of an app on a device has to see the consent page")
	}
	current, user, err := h.Sessions.Confirmed(r.Context(), r, flow.Server)
	switch {
	case (errors.Is(err, registry.ErrNotServing) || errors.Is(err, users.ErrUnconfirmed)) && !promptNone:
		// The identity provider of the user has a mistake, or is away. An administrator who is to repair
		// it can sign in as another user.
		return interaction.StepLogin, nil, nil
	case err != nil:
		return 0, nil, err
	}
	beganInFlow := current != nil && flow.LoginSession == current.Hash()
	switch {
	case beganInFlow && !isRequestedUser(flow, user):
		// The login page would only ask again.
		return 0, nil, oauth.Errorf(oauth.LoginRequired, "the user signed in as another user than the request or the client is for")
	case beganInFlow, current != nil && h.acceptsSession(flow, current, user):
	case promptNone:
		return 0, nil, oauth.Errorf(oauth.LoginRequired, "the user has to sign in")
	default:
		return interaction.StepLogin, nil, h.checkDeparture(flow)
	}
	if !flow.Client.AllowsGroupsOf(user) {
		h.Log.InfoContext(r.Context(), "a user is in no group that the rule of a client lists",
			"client", flow.Client.ID, "rule", flow.Client.Rule, "sub", user.Subject)
		return 0, nil, oauth.Errorf(oauth.AccessDenied, "the client is for users of other groups")
	}
	if err := checkACR(flow.Flow, current); err != nil {
		return 0, nil, err
	}
	if err := h.dropScopes(flow); err != nil {
		return 0, nil, err
	}
	consentUID, isMissing, err := h.checkConsent(r.Context(), flow, user)
	switch {
	case err != nil:
		return 0, nil, err
	case isMissing && promptNone:
		return 0, nil, oauth.Errorf(oauth.ConsentRequired, "the user has to give consent")
	case isMissing:
		return interaction.StepConsent, nil, nil
	}
	return 0, &approval{session: current, user: user, consentUID: consentUID}, nil
}

// checkDeparture returns an error if the user can only sign in at identity providers, and the flow is
// too large to wait for that.
func (h *Handler) checkDeparture(flow *interaction.ResolvedFlow) error {
	if ways := h.Flows.Ways(flow); len(ways) > 0 && len(ways.Fitting(h.Flows, flow)) == 0 {
		return oauth.Errorf(oauth.InvalidRequest,
			"the request is larger than %d bytes, too large for a sign-in at an identity provider: send less, such as a shorter state", interaction.MaxDeparture)
	}
	return nil
}

// acceptsSession reports whether the flow accepts a session that began before it. With prompt login
// or select_account, or if the login is older than max_age (of which 0 means the same as prompt
// login), or that is not known, the user has to sign in within the flow.
func (h *Handler) acceptsSession(f *interaction.ResolvedFlow, s *session.Session, user *registry.User) bool {
	if f.HasPrompt(oauth.PromptLogin) || f.HasPrompt(oauth.PromptSelectAccount) || !isRequestedUser(f, user) {
		return false
	}
	if f.MaxAge == interaction.NoMaxAge {
		return true
	}
	authenticated := s.AuthenticatedAt()
	return f.MaxAge > 0 && !authenticated.IsZero() && h.Now().Sub(authenticated) <= time.Duration(f.MaxAge)*time.Second
}

// isRequestedUser reports whether the response may be about the user: the request is, and users from
// there may sign in to the client.
func isRequestedUser(f *interaction.ResolvedFlow, user *registry.User) bool {
	return f.Client.AllowsProviderOf(user) && (len(f.Subjects) == 0 || slices.Contains(f.Subjects, user.Subject))
}

// dropScopes drops the scopes that the client and the resource servers no longer allow.
func (h *Handler) dropScopes(flow *interaction.ResolvedFlow) error {
	_, remaining, err := flow.Client.ResolveAudience(flow.Scopes, flow.Resources)
	if err != nil {
		return err
	}
	if len(remaining) == 0 && slices.ContainsFunc(flow.Scopes, oauth.IsAPIScope) {
		return oauth.Errorf(oauth.InvalidScope, "the client may no longer have the scopes that it asked for")
	}
	flow.Scopes = remaining
	return checkOpenID(flow)
}

// checkConsent returns the UID of the stored consent that the response is based on, empty if it
// needs none; or that consent is missing, and the consent page is next. Consent that was given in
// this flow must still be stored, since the user may have withdrawn it; the response is based on it
// even if none was required.
func (h *Handler) checkConsent(
	ctx context.Context, flow *interaction.ResolvedFlow, user *registry.User,
) (consentUID string, isMissing bool, err error) {
	if flow.ConsentingUser != user.UID {
		if flow.HasPrompt(oauth.PromptConsent) || flow.Client.RequiresInteraction(flow.RedirectURI) {
			return "", true, nil
		}
		if !flow.Client.RequiresConsent(flow.Scopes) {
			return "", false, nil
		}
	}
	consentUID, err = h.Consents.FindCovering(ctx, user.UID, flow.Client.UID, flow.ConsentRequest())
	return consentUID, consentUID == "", err
}
