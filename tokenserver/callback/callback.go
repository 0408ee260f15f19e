// Package callback is where OpenID providers send users back to (OpenID Connect Core section
// 3.1.2.5): one address for each provider, so that the answer of one is not taken for that of another
// (RFC 9700 section 4.4.2.2). It begins a session and redirects back to the authorization endpoint; or
// it redirects to the login page, which says in one sentence what went wrong.
//
//	callback.go  Handler: from the answer of a provider to a session
//	failures.go  what becomes of a sign-in that failed
//	metrics.go   how many sign-ins succeed and fail
//
// Nothing of an answer is shown, logged or passed on. Codes and tokens of a provider live as long as
// the request.
package callback

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/providercount"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// Handler is the callback, GET, for web.Adapter.ForBrowser. All fields but Metrics are required.
type Handler struct {
	Registry  *registry.Registry
	Flows     *interaction.Flows
	Sessions  *session.Sessions
	Users     *users.Users
	Providers *oidc.Providers
	Log       *slog.Logger
	Metrics   *providercount.Counter
}

// Handle handles one request. Its path ends with the name of the provider.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) error {
	params, err := oauth.ParseForm(r, false)
	if err != nil {
		return err
	}
	provider, ok := h.Registry.IdentityProvider(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
	if !ok || provider.Type != documents.ProviderOIDC || !provider.IsInService() {
		return &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageFlowUnknown}
	}
	flow, departure, err := h.Flows.Return(w, r, params.Get("state"), provider.UID)
	if err != nil {
		return err
	}
	web.NoteClient(r.Context(), flow.Client.ID)
	answer := oidc.Answer{Code: params.Get("code"), Error: params.Get("error"), Issuer: params.Get("iss"), Source: web.Source(r, flow.Server.TrustedProxies).String()}
	begun, err := h.signIn(w, r, flow, provider, answer, departure.Pending)
	if err != nil {
		return h.fail(w, r, flow, provider, err)
	}
	h.Metrics.AddResult(provider.Name, resultSuccess)
	flow.LoginSession, flow.Failure = begun.Hash(), 0
	return h.Flows.RedirectTo(w, r, flow, interaction.StepResume)
}

// errOtherUser is the error for a user whom the request is not about.
var errOtherUser = errors.New("the request is about another user")

// signIn begins a session of the user whom the provider's answer proves.
func (h *Handler) signIn(
	w http.ResponseWriter, r *http.Request, flow *interaction.ResolvedFlow, provider *registry.IdentityProvider, answer oidc.Answer, pending oidc.Pending,
) (*session.Session, error) {
	ctx := r.Context()
	proved, err := h.Providers.Callback(ctx, provider.IdentityProvider, answer, pending, oidc.CallbackURL(flow.Server.Issuer, provider.Name))
	if err != nil {
		return nil, err
	}
	user, err := h.Users.SignIn(ctx, users.SignIn{Provider: provider, Subject: proved.Subject, Upstream: proved.Upstream})
	if err != nil {
		return nil, err
	}
	if len(flow.Subjects) > 0 && !slices.Contains(flow.Subjects, user.Subject) {
		return nil, errOtherUser
	}
	return h.Sessions.Begin(ctx, w, r, flow.Server, session.Login{User: user, AMR: proved.AMR, AuthTime: proved.AuthTime})
}
