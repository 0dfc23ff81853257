# Executes the test's commands line by line, and reports the status of each.
exec 3< /dev/console
stty -echo <&3
echo FV-SHELL
while read -r line <&3; do
    eval "$line"
    echo "FV-STATUS $?"
done
