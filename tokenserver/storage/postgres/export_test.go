//go:build postgres

package postgres

// What tests look at.
const CountLive = countLive

// Newest is the number of the last migration.
func Newest() int64 {
	all, err := steps(files)
	if err != nil {
		panic(err)
	}
	return all[len(all)-1].version
}

// Spoken is everything that is said to the database while it is used.
func Spoken() []string {
	said := []string{
		takeTurn, endOldest, createGrant, readGrant, updateGrant, hasGrant, grantsOfUser, grantsOfPair, countLive, readConsent, createConsent, standingConsent, endUnconsented,
		updateConsent, hasConsent, deleteConsent, setMark, readMark, makeMigrations, readMigrations, claimStep, finishStep,
	}
	for _, sweep := range sweeps {
		said = append(said, sweep.sql)
	}
	all, err := steps(files)
	if err != nil {
		panic(err)
	}
	for _, s := range all {
		said = append(said, s.statements...)
	}
	return said
}
