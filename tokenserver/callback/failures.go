package callback

import (
	"errors"
	"net/http"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/oidc"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/session"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// fail redirects to the login page, which says why the user did not sign in. If the provider does not
// say that the user signed in anew, it redirects to the authorization endpoint: the application learns
// it. An error that is not about the sign-in, such as that of the storage, is returned.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, flow *interaction.ResolvedFlow, p *registry.IdentityProvider, err error) error {
	failure, result := classify(err)
	h.Metrics.AddResult(p.Name, result)
	if failure == 0 {
		return err
	}
	ctx := r.Context()
	h.Log.WarnContext(ctx, "a user did not sign in at an identity provider", "provider", p.Name, "error", err.Error())
	flow.Way, flow.Failure = p.UID, failure
	switch failure {
	case interaction.FailureNotFresh:
		return h.Flows.RedirectTo(w, r, flow, interaction.StepResume)
	case interaction.FailureDenied, interaction.FailureOtherUser:
		flow.RequireOtherLogin() // the provider asks which account, instead of taking the same one again
	}
	code := oauth.AccessDenied
	switch failure {
	case interaction.FailureAway, interaction.FailureFull, interaction.FailureBusy, interaction.FailureTooOften:
		code = oauth.TemporarilyUnavailable
	}
	web.NoteError(ctx, code)
	return h.Flows.RedirectTo(w, r, flow, interaction.StepLogin)
}

var failuresOf = map[oidc.Reason]interaction.Failure{
	oidc.Away: interaction.FailureAway, oidc.NoCredential: interaction.FailureAway, oidc.ClientRefused: interaction.FailureAway,
	oidc.Refused: interaction.FailureRefused, oidc.Invalid: interaction.FailureInvalid, oidc.NotFresh: interaction.FailureNotFresh,
	oidc.Busy: interaction.FailureBusy,
}

// classify returns what the login page says about an error, and the result that it counts as. The
// failure is 0 for an error that is not about the sign-in.
func classify(err error) (interaction.Failure, string) {
	var upstream *oidc.Error
	var often *users.RateError
	var tooOften *session.TooManyLoginsError
	switch {
	case errors.As(err, &upstream):
		return failuresOf[upstream.Reason], string(upstream.Reason)
	case errors.Is(err, users.ErrDenied):
		return interaction.FailureDenied, resultDenied
	case errors.Is(err, errOtherUser):
		return interaction.FailureOtherUser, resultOtherUser
	case errors.Is(err, users.ErrFull):
		return interaction.FailureFull, resultFull
	case errors.As(err, &often):
		return interaction.FailureBusy, resultFull
	case errors.As(err, &tooOften):
		return interaction.FailureTooOften, resultTooOften
	default:
		return 0, resultError
	}
}
