// Package chaos damages real clusters of processes and looks whether they heal by themselves: what was acknowledged is read
// right after every kind of trouble, as long as no more domains are damaged at a time than the code can lose.
//
// The truth is kept beside the cluster (truth): what each path may hold. The load writes and reads by it (load); the tormentor
// picks the trouble by a seed (tormentor), waits after each round until the cluster says that it is whole, and has all of it read.
// GRANARY_CHAOS says for how long, such as 10m; GRANARY_CHAOS_SEED repeats the choices of a run, and
// GRANARY_CHAOS_ONLY leaves the kinds of trouble that have its text in their name.
package chaos
