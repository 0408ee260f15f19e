package v1alpha1

// Condition types. Each has positive polarity except Stalled and LegacyGrant, which are present only where they are True.
const (
	// ConditionAccepted: the object is valid and the server's rules allow all it asks.
	ConditionAccepted = "Accepted"
	// ConditionResolvedRefs: everything that the object names exists and may be used by it.
	ConditionResolvedRefs = "ResolvedRefs"
	// ConditionCredentialsReady: the credentials exist where they should.
	ConditionCredentialsReady = "CredentialsReady"
	// ConditionProgrammed: every live replica of the token server serves this generation.
	ConditionProgrammed = "Programmed"
	// ConditionAvailable: a replica of the token server is up and ready; on AuthorizationServers.
	ConditionAvailable = "Available"
	// ConditionKeysCurrent: no rotation of keys is pending; on AuthorizationServers. Ready does not depend on it.
	ConditionKeysCurrent = "KeysCurrent"
	// ConditionReady: all of the others hold. For a client: a token request succeeds.
	ConditionReady = "Ready"
	// ConditionStalled: the object is invalid in itself, and nothing but an edit of it helps (kstatus). Present only then, and True.
	ConditionStalled = "Stalled"
	// ConditionLegacyGrant: the client uses a grant type that RFC 9700 advises against.
	ConditionLegacyGrant = "LegacyGrant"
)

// Condition reasons. Stable: tools match on them.
const (
	ReasonAccepted     = "Accepted"
	ReasonResolvedRefs = "ResolvedRefs"
	ReasonProgrammed   = "Programmed"
	ReasonAvailable    = "Available"
	ReasonReady        = "Ready"
	ReasonPending      = "Pending"

	// ReasonRefused: the API server refuses what the manager has to write, such as by a quota or an admission policy; the message quotes it.
	ReasonRefused = "Refused"
	// ReasonFailed: the manager could not finish for another reason, and tries again.
	ReasonFailed = "Failed"
	// ReasonServerNotFound: serverRef names an AuthorizationServer that does not exist.
	ReasonServerNotFound = "ServerNotFound"
	// ReasonServerNotAccepted: serverRef names an AuthorizationServer that is itself not accepted.
	ReasonServerNotAccepted = "ServerNotAccepted"
	// ReasonNotAllowedByServer: no single rule of the server allows all that the object asks.
	ReasonNotAllowedByServer = "NotAllowedByServer"
	// ReasonInvalid: a field that the API server cannot check is invalid; the message names it.
	ReasonInvalid = "Invalid"
	// ReasonSuspended: spec.suspended is set.
	ReasonSuspended = "Suspended"

	// ReasonIssuerTaken: an older AuthorizationServer has the issuer.
	ReasonIssuerTaken = "IssuerTaken"
	// ReasonClientIDTaken: the client id belongs to another object.
	ReasonClientIDTaken = "ClientIDTaken"
	// ReasonSubjectTaken: the subject belongs to another object.
	ReasonSubjectTaken = "SubjectTaken"
	// ReasonUsernameTaken: the username belongs to another user.
	ReasonUsernameTaken = "UsernameTaken"
	// ReasonIdentifierTaken: the resource identifier belongs to another object.
	ReasonIdentifierTaken = "IdentifierTaken"
	// ReasonScopeTaken: a scope belongs to another ResourceServer; it is left out, the rest works.
	ReasonScopeTaken = "ScopeTaken"
	// ReasonUnknownScope: a scope is declared by nobody, or its owner does not allow this client; it is left out, the rest works.
	ReasonUnknownScope = "UnknownScope"
	// ReasonClientNotFound: an OAuthClient that introspectionClients names does not exist at this server.
	ReasonClientNotFound = "ClientNotFound"

	// ReasonSecretReady: the Secret holds the credentials.
	ReasonSecretReady = "SecretReady"
	// ReasonNotNeeded: a public client has no credential.
	ReasonNotNeeded = "NotNeeded"
	// ReasonSecretExists: the target Secret exists, is not ours and is not marked for adoption.
	ReasonSecretExists = "SecretExists"
	// ReasonSecretNotFound: a Secret or a key in it that the spec names does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonWeakSecret: a client secret that somebody else wrote is shorter than 32 characters.
	ReasonWeakSecret = "WeakSecret"
	// ReasonInvalidPassword: the password or the hash in the Secret cannot be used.
	ReasonInvalidPassword = "InvalidPassword"

	// ReasonNameTaken: an object that the server needs has a name that another object has, which is not the operator's.
	ReasonNameTaken = "NameTaken"
	// ReasonKeysLost: the Secret with the server's keys is gone; it is never silently made again.
	ReasonKeysLost = "KeysLost"
	// ReasonKeysCurrent: no rotation of keys is pending.
	ReasonKeysCurrent = "KeysCurrent"
	// ReasonRotationPending: keys are to be replaced; the message says by which and when.
	ReasonRotationPending = "RotationPending"
	// ReasonNoReplica: no live replica of the token server is ready.
	ReasonNoReplica = "NoReplica"
	// ReasonReplicaProblem: a replica reports what keeps it from serving; the message quotes it.
	ReasonReplicaProblem = "ReplicaProblem"
	// ReasonUpgradePending: a token server does not read the document format that the object needs.
	ReasonUpgradePending = "UpgradePending"
	// ReasonManagerTooOld: a newer manager wrote the document, in a format that this one does not read.
	ReasonManagerTooOld = "ManagerTooOld"
	// ReasonEntryRejected: a replica cannot read the document of this object.
	ReasonEntryRejected = "EntryRejected"

	// ReasonLegacyGrant: the client uses the implicit or the password grant.
	ReasonLegacyGrant = "LegacyGrant"
)

// AdoptAnnotation on an existing Secret allows the OAuthClient that it names to take the Secret over.
const AdoptAnnotation = "oauth-operator.dev/adopt"
