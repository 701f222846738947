// Command mountbench measures a directory of any file system as the programs of users see it: streams, random reads and writes, small
// files, the work of git, grep, tar, cp and rm on a tree of sources, and what two mounts see of each other. run.sh measures a mount of
// Granary, the plain disk and, where its binary is there, JuiceFS, in the same way in one run.
//
//	mountbench rows --path DIR --name NAME [--rows write,read,…] [--cold COMMAND] [--pids-by COMMAND] [--results FILE]
//	mountbench compare --results FILE
//	mountbench overwrite --path DIR [--for 15m] [--file 4096] [--space-by COMMAND]
//
// The command of --cold empties all caches that the directory's reads may come from: it unmounts and mounts again, and has the kernel
// drop its own. It runs before what is measured cold. That of --pids-by prints the processes whose CPU time is charged.
//
// overwrite has a large file overwritten at random for long, which is to cost the same all the time.
package main
