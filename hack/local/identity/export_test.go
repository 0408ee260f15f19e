package identity

// Keep is KeepServiceAccount with a say in when tokens are renewed: the API server issues none that
// lives less than ten minutes.
var Keep = maintainToken
