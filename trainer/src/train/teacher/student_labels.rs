//! The order of a teacher's labels in that of its student.

use nerve_tagging::LabelSet;

use crate::train::teacher::error::TeacherError;

/// For each label of the student, the index of the teacher's label of the same name. An error names the labels that only one of
/// them has.
pub(super) fn student_order(
    teacher: &str,
    teachers: &LabelSet,
    students: &LabelSet,
) -> Result<Vec<usize>, TeacherError> {
    let only = |one: &LabelSet, other: &LabelSet| -> Vec<String> {
        let names = one.names().iter();
        names
            .filter(|name| other.parse(name).is_none())
            .cloned()
            .collect()
    };
    let (missing, extra) = (only(students, teachers), only(teachers, students));
    if !missing.is_empty() || !extra.is_empty() {
        return Err(TeacherError::Labels {
            teacher: teacher.to_owned(),
            missing,
            extra,
        });
    }
    let index = |name: &String| teachers.parse(name).map(|label| label.0);
    Ok(students.names().iter().filter_map(index).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_matched_by_name_in_any_order() {
        let students = LabelSet::iob2(["loc", "per"]).unwrap();
        let teachers = LabelSet::from_names(["I-per", "B-per", "O", "B-loc", "I-loc"]).unwrap();
        assert_eq!(student_order("t", &teachers, &students).unwrap(), [2, 3, 4, 1, 0]);
    }

    #[test]
    fn labels_of_one_side_alone_are_named() {
        let students = LabelSet::iob2(["per", "org"]).unwrap();
        let teachers = LabelSet::learn(["O", "B-per", "I-per", "E-per", "S-per"]).unwrap();
        let error = student_order("my/teacher", &teachers, &students)
            .unwrap_err()
            .to_string();
        let expected = "the teacher my/teacher has other labels than the model that is trained: it lacks B-org, I-org; \
                        only it has E-per, S-per";
        assert!(error.starts_with(expected), "{error}");
    }
}
