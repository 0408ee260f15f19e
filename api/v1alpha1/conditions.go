package v1alpha1

// Condition types. True is the good state, except for Stalled and LegacyGrant, which are present
// only while they are True.
const (
	// ConditionAccepted is True if the object is valid and the rules of the server allow everything
	// that it asks for.
	ConditionAccepted = "Accepted"
	// ConditionResolvedRefs is True if every object that the spec refers to exists and may be used.
	ConditionResolvedRefs = "ResolvedRefs"
	// ConditionCredentialsReady is True if the credentials are in the Secret that they belong in, and
	// the ConfigMap of the client, if it has one, is as it should be.
	ConditionCredentialsReady = "CredentialsReady"
	// ConditionProgrammed is True if every live replica of the token server serves this generation.
	ConditionProgrammed = "Programmed"
	// ConditionDeployed is True if the objects that run the token server are as the spec says and
	// rolled out. Only AuthorizationServers have it.
	ConditionDeployed = "Deployed"
	// ConditionAvailable is True if a replica of the token server is ready; of an IdentityProvider,
	// if no replica reports that the provider is away. The other kinds do not have it.
	ConditionAvailable = "Available"
	// ConditionKeysCurrent is True if no rotation of keys is pending. Only AuthorizationServers
	// have it, and Ready does not depend on it.
	ConditionKeysCurrent = "KeysCurrent"
	// ConditionReady is True if all other conditions but KeysCurrent are True: a client can get
	// tokens. An AuthorizationServer is Ready also if ResolvedRefs has the reason
	// IdentityProviderNotFound, which concerns the clients of a rule alone.
	ConditionReady = "Ready"
	// ConditionStalled is True if the object is invalid by itself and works only after an edit of
	// it (kstatus). Otherwise the condition is absent.
	ConditionStalled = "Stalled"
	// ConditionLegacyGrant is True if the client uses a grant type that RFC 9700 advises against.
	// Otherwise the condition is absent.
	ConditionLegacyGrant = "LegacyGrant"
)

// Condition reasons. They are stable, since tools match on them.
const (
	ReasonAccepted     = "Accepted"
	ReasonResolvedRefs = "ResolvedRefs"
	ReasonProgrammed   = "Programmed"
	ReasonDeployed     = "Deployed"
	ReasonAvailable    = "Available"
	ReasonReady        = "Ready"
	ReasonPending      = "Pending"

	// ReasonRefused means that the API server refuses an object that the manager has to write, for
	// example by a quota or an admission policy; the message quotes it.
	ReasonRefused = "Refused"
	// ReasonFailed means that the manager has failed for another reason and tries again.
	ReasonFailed = "Failed"
	// ReasonServerNotFound means that serverRef names an AuthorizationServer that does not exist.
	ReasonServerNotFound = "ServerNotFound"
	// ReasonServerNotAccepted means that serverRef names an AuthorizationServer that is not
	// accepted.
	ReasonServerNotAccepted = "ServerNotAccepted"
	// ReasonNotAllowedByServer means that no single rule of the server allows everything that the
	// object asks for.
	ReasonNotAllowedByServer = "NotAllowedByServer"
	// ReasonInvalid means that a field that the API server cannot check is invalid; the message
	// names it.
	ReasonInvalid = "Invalid"
	// ReasonSuspended means that spec.suspended is set.
	ReasonSuspended = "Suspended"

	// ReasonRealmTaken means that the realm belongs to another IdentityProvider.
	ReasonRealmTaken = "RealmTaken"
	// ReasonTooManyProviders means that the server has 32 older IdentityProviders.
	ReasonTooManyProviders = "TooManyProviders"
	// ReasonExampleFailed means that an example of an IdentityProvider does not come out as it says.
	ReasonExampleFailed = "ExampleFailed"
	// ReasonIdentityProviderNotFound means that an IdentityProvider that a rule names does not exist at
	// this server.
	ReasonIdentityProviderNotFound = "IdentityProviderNotFound"

	// ReasonNoIdentityProvider means that the rule that accepts the client lets in the users of identity
	// providers alone, and none of them is in service: no request of the client succeeds.
	ReasonNoIdentityProvider = "NoIdentityProvider"

	// ReasonIssuerTaken means that an older AuthorizationServer has the same issuer.
	ReasonIssuerTaken = "IssuerTaken"
	// ReasonAudienceIsAPIServer means that the API server would accept the tokens that a workload
	// issuer of type Kubernetes makes credentials of clients.
	ReasonAudienceIsAPIServer = "AudienceIsAPIServer"
	// ReasonClientIDTaken means that the client id belongs to another object.
	ReasonClientIDTaken = "ClientIDTaken"
	// ReasonSubjectTaken means that the subject belongs to another object.
	ReasonSubjectTaken = "SubjectTaken"
	// ReasonUsernameTaken means that the username belongs to another user.
	ReasonUsernameTaken = "UsernameTaken"
	// ReasonIdentifierTaken means that the resource identifier belongs to another object.
	ReasonIdentifierTaken = "IdentifierTaken"
	// ReasonScopeTaken means that a scope belongs to another ResourceServer. The scope is left out;
	// the others work.
	ReasonScopeTaken = "ScopeTaken"
	// ReasonUnknownScope means that no ResourceServer declares a scope, or the one that declares it
	// does not allow this client. The scope is left out; the others work.
	ReasonUnknownScope = "UnknownScope"
	// ReasonClientNotFound means that an OAuthClient that introspectionClients names does not exist
	// at this server.
	ReasonClientNotFound = "ClientNotFound"

	// ReasonSecretReady means that the Secret holds the credentials.
	ReasonSecretReady = "SecretReady"
	// ReasonKeysReady means that the public keys of a client that signs its assertions are in force.
	ReasonKeysReady = "KeysReady"
	// ReasonUnreachable means that token servers cannot reach the jwksURI of the client, or the
	// identity provider.
	ReasonUnreachable = "Unreachable"
	// ReasonUnresolvable means that the name of the identity provider's host does not resolve.
	ReasonUnresolvable = "Unresolvable"
	// ReasonBadCertificate means that the server at the jwksURI of the client, or the identity
	// provider, has no certificate for its host that token servers trust.
	ReasonBadCertificate = "BadCertificate"
	// ReasonBadAnswer means that what is at the jwksURI of the client is no key set, or that the
	// identity provider does not answer as one.
	ReasonBadAnswer = "BadAnswer"
	// ReasonClientRefused means that the identity provider does not accept the client id and secret.
	ReasonClientRefused = "ClientRefused"
	// ReasonBindRefused means that the directory does not accept the account that searches.
	ReasonBindRefused = "BindRefused"
	// ReasonSearchRefused means that the directory answers a search with an error.
	ReasonSearchRefused = "SearchRefused"
	// ReasonReferral means that the directory answers a search by naming other directories, which are
	// not asked.
	ReasonReferral = "Referral"
	// ReasonNotNeeded means that the client has no secret, or that the user has no password.
	ReasonNotNeeded = "NotNeeded"
	// ReasonSecretExists means that the target Secret exists, does not belong to the client, and is
	// not annotated for adoption.
	ReasonSecretExists = "SecretExists"
	// ReasonConfigMapExists means the same of the ConfigMap.
	ReasonConfigMapExists = "ConfigMapExists"
	// ReasonSecretNotFound means that a Secret or a key in it that the spec names does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretRefused means that a Secret that an IdentityProvider names is for something else, and
	// is not copied.
	ReasonSecretRefused = "SecretRefused"
	// ReasonConfigMapNotFound means that a ConfigMap or a key in it that the spec names does not
	// exist.
	ReasonConfigMapNotFound = "ConfigMapNotFound"
	// ReasonWeakSecret means that a client secret that the operator did not generate is shorter
	// than 32 characters.
	ReasonWeakSecret = "WeakSecret"
	// ReasonRevokedSecret means that the value that is to be the client secret is that of a revoked
	// credential.
	ReasonRevokedSecret = "RevokedSecret"
	// ReasonRotationLimited means that the client secret was replaced so often that the next one
	// waits for some seconds.
	ReasonRotationLimited = "RotationLimited"
	// ReasonInvalidPassword means that the password or the hash in the Secret cannot be used.
	ReasonInvalidPassword = "InvalidPassword"

	// ReasonNameTaken means that the name of an object that the server needs belongs to another
	// object, which the operator does not manage.
	ReasonNameTaken = "NameTaken"
	// ReasonProgressDeadlineExceeded means that the token server's Pods do not get ready; the message
	// says what they wait for.
	ReasonProgressDeadlineExceeded = "ProgressDeadlineExceeded"
	// ReasonKeysLost means that the Secret with the server's keys does not exist any more. The
	// manager does not create it again by itself.
	ReasonKeysLost = "KeysLost"
	// ReasonKeysCurrent means that no rotation of keys is pending.
	ReasonKeysCurrent = "KeysCurrent"
	// ReasonRotationPending means that keys will be replaced; the message says by which and when.
	ReasonRotationPending = "RotationPending"
	// ReasonNoReplica means that no live replica of the token server is ready.
	ReasonNoReplica = "NoReplica"
	// ReasonReplicaProblem means that a replica reports what keeps it from serving; the message
	// quotes it.
	ReasonReplicaProblem = "ReplicaProblem"
	// ReasonUpgradePending means that a token server does not read the document format that the
	// object needs.
	ReasonUpgradePending = "UpgradePending"
	// ReasonManagerTooOld means that a newer manager wrote the document, in a format that this one
	// does not read.
	ReasonManagerTooOld = "ManagerTooOld"
	// ReasonEntryRejected means that a replica cannot read the document of this object.
	ReasonEntryRejected = "EntryRejected"

	// ReasonLegacyGrant means that the client uses the implicit or the password grant.
	ReasonLegacyGrant = "LegacyGrant"
	// ReasonLegacyGrantEnding means that the rule of the server that accepts the client ends such a
	// grant within 30 days; the message says when.
	ReasonLegacyGrantEnding = "LegacyGrantEnding"
	// ReasonLegacyGrantEnded means that the rule has ended such a grant, which the client still
	// lists.
	ReasonLegacyGrantEnded = "LegacyGrantEnded"
)

// AdoptAnnotation on an existing Secret allows the OAuthClient that it names to manage the Secret.
const AdoptAnnotation = "oauth-operator.dev/adopt"
