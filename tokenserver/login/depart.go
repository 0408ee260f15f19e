package login

import (
	"errors"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// maxLoginHint is how many bytes of login_hint are passed on to a provider. A longer one is left out.
const maxLoginHint = 256

// depart sends the browser to an OpenID provider, from where it comes back to package callback. If the
// provider is away, it shows the ways that there are.
func (h *Handler) depart(v visit, way interaction.Way) error {
	ctx, issuer := v.r.Context(), v.flow.Server.Issuer
	request := oidc.Request{
		RedirectURI: oidc.CallbackURL(issuer, way.Name()), MaxAge: v.flow.MaxAge, SelectAccount: v.flow.HasPrompt(oauth.PromptSelectAccount),
	}
	switch {
	case v.flow.HasPrompt(oauth.PromptLogin):
		request.MaxAge = 0
	case v.flow.MaxAge == interaction.NoMaxAge:
		request.MaxAge = oidc.AnyAge
	}
	if len(v.flow.LoginHint) <= maxLoginHint {
		request.LoginHint = v.flow.LoginHint
	}
	v.flow.Way, v.flow.Departed, v.flow.Failure = way.UID(), true, 0
	to, pending, err := h.Providers.Depart(ctx, way.Provider.IdentityProvider, request)
	var failed *oidc.Error
	switch {
	case errors.As(err, &failed):
		h.Log.WarnContext(ctx, "a user cannot be sent to an identity provider", "provider", way.Name(), "error", failed.Error())
		web.NoteError(ctx, oauth.TemporarilyUnavailable)
		v.flow.Failure = interaction.FailureAway
		return h.showChooser(v)
	case err != nil:
		return err
	}
	if err := h.Flows.Depart(v.w, v.r, v.flow, interaction.Departure{ProviderUID: way.UID(), Pending: pending}); err != nil {
		return err
	}
	interaction.ForgetSignedOut(v.w, v.r, issuer)
	return web.Redirect(v.w, to)
}
